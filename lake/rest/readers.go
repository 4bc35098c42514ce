package rest

import "strconv"

// S3 is how clients reach the objects of an S3 lake. They are told what is not zero. Leave the credentials empty unless
// everybody who can reach the service may have them: without, clients use their own.
type S3 struct {
	Endpoint  string // URL
	Region    string
	PathStyle bool

	AccessKey, SecretKey, SessionToken string
}

func (s S3) config() map[string]string {
	c := map[string]string{}
	set := func(value string, keys ...string) {
		for _, k := range keys {
			if value != "" {
				c[k] = value
			}
		}
	}
	set(s.Endpoint, "s3.endpoint")
	set(s.Region, "s3.region", "client.region")
	if s.PathStyle {
		set(strconv.FormatBool(s.PathStyle), "s3.path-style-access")
	}
	set(s.AccessKey, "s3.access-key-id")
	set(s.SecretKey, "s3.secret-access-key")
	set(s.SessionToken, "s3.session-token")
	return c
}

// tableConfig is what comes with each table. DuckDB takes it for the whole truth about S3, so that its own secret would
// not be used: nothing is said there unless credentials are.
func (s S3) tableConfig() map[string]string {
	if s.AccessKey == "" {
		return map[string]string{}
	}
	return s.config()
}
