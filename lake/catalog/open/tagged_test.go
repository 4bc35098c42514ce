//go:build glue && hive

package open_test

// The client of Glue asks for nothing before it is used; that of Hive connects at once.
var unknown, offline = []string{"hive:http://metastore:9083"}, []string{"glue:", "glue:123456789012"}
