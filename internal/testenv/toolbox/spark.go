package toolbox

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
)

// Spark is PySpark with Iceberg's jars.
type Spark struct {
	Python   string
	JavaHome string
	Jars     []string
}

// Spark fetches it: half a gigabyte.
func (b *Box) Spark(ctx context.Context) (*Spark, error) {
	java, err := b.sparkJava(ctx)
	if err != nil {
		return nil, err
	}
	version, iceberg := b.pinned["SPARK"], b.pinned["SPARK_ICEBERG"]
	suffix, release, _ := strings.Cut(iceberg, ":")
	artifacts := []string{"iceberg-spark-runtime-" + suffix, "iceberg-aws-bundle"}
	dir, err := b.install(ctx, "spark", version+"-"+digest(iceberg), func(ctx context.Context, dir string) error {
		python, err := b.need(ctx, "python3", "python3-venv")
		if err != nil {
			return err
		}
		mvn, err := b.need(ctx, "mvn", "maven")
		if err != nil {
			return err
		}
		for _, argv := range [][]string{
			{python, "-m", "venv", dir},
			{filepath.Join(dir, "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pyspark==" + version},
			{mvn, "-q", "-B", "dependency:copy", "-Dartifact=org.apache.iceberg:" + artifacts[0] + ":" + release, "-DoutputDirectory=" + filepath.Join(dir, "jars")},
			{mvn, "-q", "-B", "dependency:copy", "-Dartifact=org.apache.iceberg:" + artifacts[1] + ":" + release, "-DoutputDirectory=" + filepath.Join(dir, "jars")},
		} {
			if err := (command{argv: argv}).runNetwork(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s := &Spark{Python: filepath.Join(dir, "bin/python"), JavaHome: filepath.Dir(filepath.Dir(java))}
	for _, name := range artifacts {
		s.Jars = append(s.Jars, filepath.Join(dir, "jars", name+"-"+release+".jar"))
	}
	return s, nil
}

// sparkJava returns a java program that Spark runs on: one that is installed, else Debian's default.
func (b *Box) sparkJava(ctx context.Context) (string, error) {
	const least, most = 17, 23
	if java, err := findJava(ctx, least, most); java != "" || err != nil {
		return java, err
	}
	if err := b.aptInstall(ctx, "default-jre-headless"); err != nil {
		return "", err
	}
	java, err := findJava(ctx, least, most)
	if err == nil && java == "" {
		err = errors.New("spark needs Java 17 or 21, and none was found: install one and set JAVA_HOME to its folder")
	}
	return java, err
}
