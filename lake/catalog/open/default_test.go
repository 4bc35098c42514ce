//go:build !glue && !hive

package open_test

var unknown, offline = []string{"glue:", "hive:thrift://metastore:9083"}, []string{}
