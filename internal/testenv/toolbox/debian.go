package toolbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// need returns the path of a program, installing its Debian package first when it is absent and we may.
func (b *Box) need(ctx context.Context, program, debianPackage string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	if err := b.aptInstall(ctx, debianPackage); err != nil {
		return "", fmt.Errorf("%s is not on PATH: %w", program, err)
	}
	return exec.LookPath(program)
}

// aptInstall installs a package on the machine. Only root on a Debian-like machine can.
func (b *Box) aptInstall(ctx context.Context, debianPackage string) error {
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("install the package %s (or what your system calls it), then try again", debianPackage)
	}
	unlock, err := b.lock(ctx, "apt-get") // dpkg refuses a second user at once
	if err != nil {
		return err
	}
	defer unlock()
	b.Log("apt-get install " + debianPackage)
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	return errors.Join(
		command{argv: []string{apt, "-q", "update"}, env: env}.runNetwork(ctx),
		command{argv: []string{apt, "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "install", "--no-install-recommends", debianPackage}, env: env}.runNetwork(ctx),
	)
}

// unpackDebian downloads packages of a Debian suite with all their libraries and unpacks them below dir, installing nothing on the
// machine. It works with a package state of its own, in which nothing is installed, so that the result is complete (its own C library
// and loader included) and runs on any older or newer Debian. apt checks the archive's signatures.
func (b *Box) unpackDebian(ctx context.Context, dir, suite string, packages []string) error {
	for _, program := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("MySQL is taken from Debian's packages, which needs %s: %w", program, err)
		}
	}
	state := filepath.Join(dir, ".apt")
	for _, sub := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(state, sub), 0o755); err != nil {
			return err
		}
	}
	mirror, err := debianMirror()
	if err != nil {
		return err
	}
	files := map[string]string{
		"sources.list": fmt.Sprintf("deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", mirror, suite),
		"status":       "",
		"apt.conf": strings.ReplaceAll(`Dir::Etc::sourcelist "@/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "@";
Dir::State::lists "@/lists";
Dir::State::status "@/status";
Dir::Cache "@";
Dir::Cache::archives "@/archives";
APT::Architecture "amd64";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "5";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Debug::NoLocking "true";
`, "@", state),
	}
	for name, body := range files {
		if err := os.WriteFile(filepath.Join(state, name), []byte(body), 0o644); err != nil {
			return err
		}
	}
	env := []string{"APT_CONFIG=" + filepath.Join(state, "apt.conf"), "DEBIAN_FRONTEND=noninteractive"}
	install := append([]string{"apt-get", "-q", "-y", "install", "--download-only"}, packages...)
	if err := (command{argv: []string{"apt-get", "-q", "update"}, env: env}).runNetwork(ctx); err != nil {
		return err
	}
	if err := (command{argv: install, env: env}).runNetwork(ctx); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(state, "archives", "*.deb"))
	if err != nil || len(debs) == 0 {
		return fmt.Errorf("apt-get downloaded no package for %s (%w)", strings.Join(packages, " "), err)
	}
	for _, deb := range debs {
		if err := (command{argv: []string{"dpkg-deb", "-x", deb, dir}}).run(ctx); err != nil {
			return err
		}
	}
	for _, unused := range []string{".apt", "usr/share/doc", "usr/share/man", "usr/share/locale"} {
		if err := os.RemoveAll(filepath.Join(dir, unused)); err != nil {
			return err
		}
	}
	return nil
}

// debianMirror is the archive this machine is set up to use.
func debianMirror() (string, error) {
	candidates, err := filepath.Glob("/etc/apt/sources.list.d/*")
	if err != nil {
		return "", err
	}
	for _, file := range append(candidates, "/etc/apt/sources.list") {
		body, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return "", fmt.Errorf("find the Debian mirror: %w", err)
		}
		if mirror := mirrorIn(body); mirror != "" {
			return mirror, nil
		}
	}
	return "", errors.New("find the Debian mirror: no archive ending in /debian in /etc/apt/sources.list or /etc/apt/sources.list.d")
}

// mirrorIn finds Debian's own archive in a sources file of either form, "" when it names another's.
func mirrorIn(sources []byte) string {
	uri := regexp.MustCompile(`(?m)^(?:URIs:\s*|deb\s+(?:\[[^]]*\]\s+)?)(\S+/debian)/?(?:\s|$)`)
	m := uri.FindSubmatch(sources)
	if m == nil {
		return ""
	}
	return string(m[1])
}
