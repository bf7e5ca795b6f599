// Command prometheus reads alert rules and dashboards with Prometheus's own parsers: what `promtool check
// rules` does, and the same for the queries of a Grafana dashboard. It is a module of its own, so that
// Headrace does not require Prometheus's; `make compat-setup` builds it. Whether the metrics exist is the
// business of a test of package server.
//
//	promcheck rules.yaml... dashboard.json...
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	failed := false
	for _, file := range os.Args[1:] {
		n, errs := check(file)
		for _, err := range errs {
			failed = true
			fmt.Printf("%s: %v\n", file, err)
		}
		fmt.Printf("%s: %d expressions\n", file, n)
	}
	if failed {
		os.Exit(1)
	}
}

// check reads one file and returns how many expressions it has.
func check(file string) (n int, errs []error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, []error{err}
	}
	p := parser.NewParser(parser.Options{})
	if filepath.Ext(file) == ".json" {
		return dashboard(text, p)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, p, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if groups == nil {
		return 0, errs
	}
	seen := map[string]bool{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			n++
			// promtool compares labels as well: an alert of one name and two severities is one of two here.
			if name := r.Alert + r.Record; seen[name] {
				errs = append(errs, fmt.Errorf("%s: there are two of that name", name))
			} else {
				seen[name] = true
			}
		}
	}
	return n, errs
}

// panel is what a dashboard, a row and a panel have in common.
type panel struct {
	Title   string
	Targets []struct{ Expr string }
	Panels  []panel
}

// values are what Grafana puts in place of its variables. Those of a dashboard stand within quotes only, and
// may be anything.
var values = strings.NewReplacer("$__rate_interval", "5m", "$__interval", "1m", "$__range", "1h")

// dashboard parses the query of every panel, and of every variable.
func dashboard(text []byte, p parser.Parser) (n int, errs []error) {
	var d struct {
		panel
		Templating struct {
			List []struct {
				Name  string
				Query json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return 0, []error{err}
	}
	parse := func(where, expr string) {
		n++
		if _, err := p.ParseExpr(values.Replace(expr)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %q: %w", where, expr, err))
		}
	}
	var walk func([]panel)
	walk = func(all []panel) {
		for _, one := range all {
			for _, t := range one.Targets {
				parse("panel "+one.Title, t.Expr)
			}
			walk(one.Panels)
		}
	}
	walk(d.Panels)
	for _, v := range d.Templating.List {
		var asked struct{ Query string }
		if json.Unmarshal(v.Query, &asked) != nil {
			continue // a plain text, such as the name of a data source's type
		}
		selector, ok := strings.CutPrefix(asked.Query, "label_values(")
		if at := strings.LastIndex(selector, ","); ok && at > 0 {
			parse("variable "+v.Name, selector[:at])
		}
	}
	return n, errs
}
