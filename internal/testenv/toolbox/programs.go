package toolbox

import (
	"context"
	"embed"
	"os"
	"os/exec"
	"path/filepath"
)

// MinIO returns the path of the minio server program. Built from source by the Go tool: minutes, the first time.
func (b *Box) MinIO(ctx context.Context) (string, error) {
	return b.goProgram(ctx, "minio", "github.com/minio/minio", b.pinned["MINIO"])
}

// GolangciLint returns the path of golangci-lint, which formats as well (gofumpt is in it).
func (b *Box) GolangciLint(ctx context.Context) (string, error) {
	return b.goProgram(ctx, "golangci-lint", "github.com/golangci/golangci-lint/v2/cmd/golangci-lint", b.pinned["GOLANGCI_LINT"])
}

func (b *Box) goProgram(ctx context.Context, name, pkg, version string) (string, error) {
	dir, err := b.install(ctx, name, version, func(ctx context.Context, dir string) error {
		return command{
			argv: []string{"nice", "go", "install", "-trimpath", "-ldflags=-s -w", pkg + "@" + version},
			dir:  dir, // outside our module, whose flags and requirements do not apply
			env:  []string{"GOBIN=" + dir, "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0"},
		}.runNetwork(ctx)
	})
	return filepath.Join(dir, name), err
}

// Compiler sees to a C compiler, which Go's race detector links with.
func (b *Box) Compiler(ctx context.Context) (string, error) {
	for program, pkg := range map[string]string{"gcc": "gcc", "/usr/include/stdio.h": "libc6-dev"} {
		if filepath.IsAbs(program) {
			if _, err := os.Stat(program); err == nil {
				continue
			}
			if err := b.aptInstall(ctx, pkg); err != nil {
				return "", err
			}
		} else if _, err := b.need(ctx, program, pkg); err != nil {
			return "", err
		}
	}
	return exec.LookPath("gcc")
}

// Python returns the interpreter of a virtual environment that holds the packages of requirements.txt.
func (b *Box) Python(ctx context.Context) (string, error) {
	dir, err := b.install(ctx, "python", digest(requirementsFile), func(ctx context.Context, dir string) error {
		python, err := b.need(ctx, "python3", "python3-venv")
		if err != nil {
			return err
		}
		if (command{argv: []string{python, "-c", "import ensurepip, venv"}}).run(ctx) != nil { // Debian ships venv apart
			if err := b.aptInstall(ctx, "python3-venv"); err != nil {
				return err
			}
		}
		if err := (command{argv: []string{python, "-m", "venv", dir}}).run(ctx); err != nil {
			return err
		}
		requirements := filepath.Join(dir, "requirements.txt")
		if err := os.WriteFile(requirements, []byte(requirementsFile), 0o644); err != nil {
			return err
		}
		return command{argv: []string{filepath.Join(dir, "bin/python"), "-m", "pip", "install", "-q", "-r", requirements}}.runNetwork(ctx)
	})
	return filepath.Join(dir, "bin/python"), err
}

// Trino is an assembled Trino server with the iceberg plugin alone, and a Java to run it.
type Trino struct {
	Home string // lib/*.jar, plugin/iceberg/*.jar, secrets-plugin/, TrinoMain.class
	Java string
}

//go:embed pom-lib.xml pom-iceberg.xml TrinoMain.java
var trinoFiles embed.FS

// trinoSources is what the assembled folder depends on besides the version.
func trinoSources() []string {
	var bodies []string
	for _, name := range []string{"TrinoMain.java", "pom-iceberg.xml", "pom-lib.xml"} {
		body, err := trinoFiles.ReadFile(name)
		if err != nil {
			panic(err) // embedded above
		}
		bodies = append(bodies, string(body))
	}
	return bodies
}

// Trino fetches the server's artifacts with Maven, and finds a Java that is new enough.
func (b *Box) Trino(ctx context.Context) (*Trino, error) {
	java, err := b.java(ctx)
	if err != nil {
		return nil, err
	}
	version := b.pinned["TRINO"] + "-" + digest(trinoSources()...)
	home, err := b.install(ctx, "trino", version, func(ctx context.Context, dir string) error {
		mvn, err := b.need(ctx, "mvn", "maven")
		if err != nil {
			return err
		}
		for pom, into := range map[string]string{"pom-lib.xml": "lib", "pom-iceberg.xml": "plugin/iceberg"} {
			body, err := trinoFiles.ReadFile(pom)
			if err != nil {
				return err
			}
			file := filepath.Join(dir, pom)
			if err := os.WriteFile(file, body, 0o644); err != nil {
				return err
			}
			if err := (command{argv: []string{
				mvn, "-q", "-B", "-f", file, "dependency:copy-dependencies", "-DincludeScope=runtime",
				"-Dtrino.version=" + b.pinned["TRINO"], "-DoutputDirectory=" + filepath.Join(dir, into),
			}}).runNetwork(ctx); err != nil {
				return err
			}
		}
		// The packaged plugin declares its class in a jar of its own, which the artifact lacks; a folder does as well.
		if err := trinoServices(dir); err != nil {
			return err
		}
		return command{argv: []string{java + "c", "-cp", filepath.Join(dir, "lib", "*"), "-d", dir, filepath.Join(dir, "TrinoMain.java")}}.run(ctx)
	})
	if err != nil {
		return nil, err
	}
	return &Trino{Home: home, Java: java}, nil
}
