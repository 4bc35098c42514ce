package toolbox

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// java returns a java program new enough for Trino, with a javac beside it: of $JAVA25_HOME, $JAVA_HOME, a folder in /usr/lib/jvm, or the
// one on PATH; else Debian's own, unpacked into the cache.
func (b *Box) java(ctx context.Context) (string, error) {
	least, err := strconv.Atoi(b.pinned["TRINO_JAVA"])
	if err != nil {
		return "", fmt.Errorf("versions.env: TRINO_JAVA: %w", err)
	}
	if java, err := findJava(ctx, least, least+100); java != "" || err != nil {
		return java, err
	}
	java, err := b.debianJava(ctx)
	if err != nil {
		return "", fmt.Errorf("trino needs a JDK %d or newer and none was found: install one and set JAVA25_HOME to its folder, since: %w", least, err)
	}
	return java, nil
}

// debianJava unpacks a JDK as MySQL is unpacked. Its launcher finds its parts by its own path, so it cannot be started through the
// loader: the loader's path is written into it instead.
func (b *Box) debianJava(ctx context.Context) (string, error) {
	suite, packages := b.pinned["DEBIAN_SUITE"], strings.Fields(b.pinned["JAVA_PACKAGES"])
	version := suite + "-" + digest(packages...)
	final := filepath.Join(b.Dir, "java-"+version)
	home, err := b.install(ctx, "java", version, func(ctx context.Context, dir string) error {
		if err := b.unpackDebian(ctx, dir, suite, packages); err != nil {
			return err
		}
		homes, err := filepath.Glob(filepath.Join(dir, "usr/lib/jvm/java-*/bin/javac"))
		if err != nil || len(homes) == 0 {
			return fmt.Errorf("%s holds no javac (%w)", strings.Join(packages, " "), err)
		}
		if err := relink(dir, filepath.Join(dir, "usr/lib/jvm")); err != nil {
			return err
		}
		jvm, err := filepath.EvalSymlinks(filepath.Dir(filepath.Dir(homes[0])))
		if err != nil {
			return err
		}
		const lib = "usr/lib/x86_64-linux-gnu"
		loader := []string{filepath.Join(dir, lib, "ld-linux-x86-64.so.2"), "--library-path", filepath.Join(dir, lib)}
		if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
			return err
		}
		for _, name := range []string{"java", "javac"} {
			program := filepath.Join(jvm, "bin", name)
			patch := append(loader, filepath.Join(dir, "usr/bin/patchelf"), "--set-interpreter", filepath.Join(final, lib, "ld-linux-x86-64.so.2"), program)
			if err := (command{argv: patch}).run(ctx); err != nil {
				return err
			}
			inside, err := filepath.Rel(dir, program)
			if err != nil {
				return err
			}
			script := fmt.Sprintf("#!/bin/sh\nLD_LIBRARY_PATH='%s' exec '%s' \"$@\"\n", filepath.Join(final, lib), filepath.Join(final, inside))
			if err := os.WriteFile(filepath.Join(dir, "bin", name), []byte(script), 0o755); err != nil {
				return err
			}
		}
		return nil
	})
	return filepath.Join(home, "bin/java"), err
}

// relink makes the absolute links below folder, which mean the machine's root, mean dir.
func relink(dir, folder string) error {
	return filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Type() != fs.ModeSymlink {
			return err
		}
		target, err := os.Readlink(path)
		if err != nil || !filepath.IsAbs(target) {
			return err
		}
		inside, err := filepath.Rel(filepath.Dir(path), filepath.Join(dir, target))
		if err != nil {
			return err
		}
		return errors.Join(os.Remove(path), os.Symlink(inside, path))
	})
}

// findJava returns a java program of a major version within bounds, "" when the machine has none.
func findJava(ctx context.Context, least, most int) (string, error) {
	homes := []string{os.Getenv("JAVA25_HOME"), os.Getenv("JAVA_HOME")}
	installed, err := filepath.Glob("/usr/lib/jvm/*")
	if err != nil {
		return "", err
	}
	programs := []string{}
	for _, home := range append(homes, installed...) {
		if home != "" {
			programs = append(programs, filepath.Join(home, "bin/java"))
		}
	}
	if onPath, err := exec.LookPath("java"); err == nil {
		programs = append(programs, onPath)
	}
	version := regexp.MustCompile(`version "(\d+)`)
	for _, java := range programs {
		if _, err := os.Stat(java); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput()
		if err != nil { // a broken one beside a good one is no reason to stop
			continue
		}
		if m := version.FindSubmatch(out); m != nil {
			if major, err := strconv.Atoi(string(m[1])); err == nil && major >= least && major <= most {
				return java, nil
			}
		}
	}
	return "", nil
}

// trinoServices declares the iceberg plugin's class, in a jar, and copies our main class.
func trinoServices(dir string) (err error) {
	if err := os.MkdirAll(filepath.Join(dir, "secrets-plugin"), 0o755); err != nil {
		return err
	}
	main, err := trinoFiles.ReadFile("TrinoMain.java")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "TrinoMain.java"), main, 0o644); err != nil {
		return err
	}
	jar, err := os.Create(filepath.Join(dir, "plugin/iceberg/trino-iceberg-services.jar"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, jar.Close()) }()
	z := zip.NewWriter(jar)
	w, err := z.Create("META-INF/services/io.trino.spi.Plugin")
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte("io.trino.plugin.iceberg.IcebergPlugin\n")); err != nil {
		return err
	}
	return z.Close()
}
