// Renders a Helm chart's templates as Helm does, so far as this project's chart needs it, with Debian's Go and sprig:
// text/template, sprig's functions, and those that Helm has beside them.
//
//	render CHART-FOLDER NAMESPACE < values.yaml
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"github.com/ghodss/yaml"
)

type values = map[string]interface{}

// merge puts the given values over the defaults: maps are merged, everything else is replaced, null takes away.
func merge(defaults, given values) values {
	for key, value := range given {
		inner, isMap := value.(values)
		below, wasMap := defaults[key].(values)
		switch {
		case value == nil:
			delete(defaults, key)
		case isMap && wasMap:
			defaults[key] = merge(below, inner)
		default:
			defaults[key] = value
		}
	}
	return defaults
}

func parse(text []byte) (values, error) {
	parsed := values{}
	err := yaml.Unmarshal(text, &parsed)
	return parsed, err
}

func functions(root *template.Template) template.FuncMap {
	all := sprig.TxtFuncMap()
	all["toYaml"] = func(value interface{}) (string, error) {
		text, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	all["include"] = func(name string, data interface{}) (string, error) {
		var text strings.Builder
		err := root.ExecuteTemplate(&text, name, data)
		return text.String(), err
	}
	return all
}

func render(chart, namespace string, given []byte) error {
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return err
	}
	defaults, err := parse(text)
	if err != nil {
		return err
	}
	wanted, err := parse(given)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	if err != nil {
		return err
	}
	sort.Strings(files)

	// As in Helm: a field that is missing prints as nothing.
	root := template.New("chart").Option("missingkey=zero")
	root.Funcs(functions(root))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if _, err := root.New(filepath.Base(file)).Parse(string(text)); err != nil {
			return err
		}
	}
	data := values{"Values": merge(defaults, wanted), "Release": values{"Namespace": namespace}}
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasPrefix(name, "_") {
			continue
		}
		var made strings.Builder
		if err := root.ExecuteTemplate(&made, name, data); err != nil {
			return err
		}
		// Helm leaves out what has come to nothing.
		if text := strings.TrimSpace(made.String()); text != "" {
			fmt.Printf("---\n%s\n", text)
		}
	}
	return nil
}

func main() {
	given, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = render(os.Args[1], os.Args[2], given)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
