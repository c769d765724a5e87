// Renders a Helm chart as `helm template` does, for tests: the same template language and functions (text/template, Sprig), the same order of files.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run render.go CHART RELEASE NAMESPACE [VALUES.yaml ...]
//
// Later values replace earlier ones, objects key by key, as with --values. Subcharts, hooks and Helm's own lookups are not there.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

func main() {
	chart, release, namespace := os.Args[1], os.Args[2], os.Args[3]
	values := map[string]interface{}{}
	for _, file := range append([]string{filepath.Join(chart, "values.yaml")}, os.Args[4:]...) {
		merge(values, read(file))
	}
	description := read(filepath.Join(chart, "Chart.yaml"))
	root := map[string]interface{}{
		"Values":  values,
		"Chart":   map[string]interface{}{"Name": description["name"], "Version": description["version"], "AppVersion": description["appVersion"]},
		"Release": map[string]interface{}{"Name": release, "Namespace": namespace, "Service": "Helm", "IsInstall": true, "IsUpgrade": false, "Revision": 1},
	}

	all := template.New("chart").Option("missingkey=zero")
	functions := sprig.TxtFuncMap()
	delete(functions, "env") // As Helm does.
	delete(functions, "expandenv")
	functions["include"] = func(name string, data interface{}) (string, error) {
		var text bytes.Buffer
		err := all.ExecuteTemplate(&text, name, data)
		return text.String(), err
	}
	functions["toYaml"] = func(value interface{}) (string, error) {
		var text bytes.Buffer
		encoder := yaml.NewEncoder(&text)
		encoder.SetIndent(2)
		err := encoder.Encode(value)
		return strings.TrimSuffix(text.String(), "\n"), err
	}
	functions["required"] = func(why string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, fmt.Errorf("%s", why)
		}
		return value, nil
	}
	all.Funcs(functions)

	files, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	must(err)
	sort.Strings(files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(err)
		_, err = all.New(filepath.Base(file)).Parse(string(text))
		must(err)
	}
	for _, file := range files {
		var text bytes.Buffer
		must(all.ExecuteTemplate(&text, filepath.Base(file), root))
		if rendered := strings.TrimSpace(text.String()); filepath.Ext(file) == ".yaml" && rendered != "" {
			fmt.Printf("---\n# Source: %s\n%s\n", filepath.Base(file), strings.TrimPrefix(rendered, "---\n"))
		}
	}
}

func read(file string) map[string]interface{} {
	text, err := os.ReadFile(file)
	must(err)
	var found map[string]interface{}
	must(yaml.Unmarshal(text, &found))
	return found
}

func merge(into, from map[string]interface{}) {
	for key, value := range from {
		inner, isObject := value.(map[string]interface{})
		if known, isKnown := into[key].(map[string]interface{}); isObject && isKnown {
			merge(known, inner)
		} else {
			into[key] = value
		}
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
