package examples

import (
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The two ways to run the stack are one stack: what stands in the README holds for both.
func TestComposeHasThePortsOfTheStack(t *testing.T) {
	body, err := os.ReadFile("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Image   string   `yaml:"image"`
			Ports   []string `yaml:"ports"`
			Configs []struct {
				Source string `yaml:"source"`
			} `yaml:"configs"`
		} `yaml:"services"`
		Configs map[string]any `yaml:"configs"`
	}
	if err := yaml.Unmarshal(body, &compose); err != nil {
		t.Fatal(err)
	}
	for service, port := range map[string]string{"primary": "33061", "replica1": "33062", "replica2": "33063", "minio": "39000"} {
		s, ok := compose.Services[service]
		if !ok || s.Image == "" || len(s.Ports) != 1 || !strings.HasPrefix(s.Ports[0], "127.0.0.1:"+port+":") {
			t.Errorf("service %s: %+v, want an image and port %s", service, s, port)
		}
		for _, c := range s.Configs {
			if compose.Configs[c.Source] == nil {
				t.Errorf("service %s uses the config %s, which is not there", service, c.Source)
			}
		}
	}
}

func TestShopHasNoClientCommands(t *testing.T) {
	for line := range strings.Lines(Shop()) {
		if strings.HasPrefix(line, "DELIMITER") || strings.Contains(line, "$$") {
			t.Errorf("a server does not understand %q", line)
		}
	}
}
