package toolbox

import (
	"context"
	"embed"
	"os"
	"path/filepath"
)

// Kit is the REST Compatibility Kit of Apache Iceberg (apache/iceberg, open-api/README.md) with a Java to run it.
type Kit struct {
	Java      string
	ClassPath string
	Class     string // the tests
}

//go:embed pom-kit.xml LakeCatalogTests.java
var kitFiles embed.FS

// Kit fetches the kit with Maven.
func (b *Box) Kit(ctx context.Context) (*Kit, error) {
	java, err := b.java(ctx)
	if err != nil {
		return nil, err
	}
	var bodies []string
	for _, name := range []string{"pom-kit.xml", "LakeCatalogTests.java"} {
		body, err := kitFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, string(body))
	}
	dir, err := b.install(ctx, "kit", b.pinned["ICEBERG_KIT"]+"-"+digest(bodies...), func(ctx context.Context, dir string) error {
		mvn, err := b.need(ctx, "mvn", "maven")
		if err != nil {
			return err
		}
		pom, source := filepath.Join(dir, "pom.xml"), filepath.Join(dir, "LakeCatalogTests.java")
		for i, file := range []string{pom, source} {
			if err := os.WriteFile(file, []byte(bodies[i]), 0o644); err != nil {
				return err
			}
		}
		if err := (command{argv: []string{
			mvn, "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime",
			"-Diceberg.version=" + b.pinned["ICEBERG_KIT"], "-DoutputDirectory=" + filepath.Join(dir, "lib"),
		}}).runNetwork(ctx); err != nil {
			return err
		}
		return command{argv: []string{java + "c", "-proc:none", "-cp", filepath.Join(dir, "lib", "*"), "-d", filepath.Join(dir, "classes"), source}}.run(ctx)
	})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "classes") + string(filepath.ListSeparator) + filepath.Join(dir, "lib", "*")
	return &Kit{Java: java, ClassPath: path, Class: "org.apache.iceberg.rest.LakeCatalogTests"}, nil
}
