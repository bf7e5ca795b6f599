package server

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// described returns the names of all metrics that a server registers, with their labels.
func described(t *testing.T) map[string]string {
	t.Helper()
	registry := newRegistry()
	cfg := Config{MemoryBytes: 64 << 20, DefaultAccount: home, Logger: discard(), Registry: registry, Access: Access{AnyCredentials: true}}.withDefaults()
	ctx, fail := context.WithCancelCause(t.Context())
	defer fail(nil)
	sys, err := assemble(ctx, cfg, fail)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sys.close(); err != nil {
			t.Error(err)
		}
	}()
	descs := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descs)
		close(descs)
	}()
	names := map[string]string{"up": ""} // Prometheus's own
	shape := regexp.MustCompile(`fqName: "([^"]*)".*variableLabels: \{([^}]*)\}`)
	for d := range descs {
		part := shape.FindStringSubmatch(d.String())
		if part == nil {
			t.Fatalf("cannot read %s", d)
		}
		names[part[1]] = part[2]
	}
	return names
}

// monitoringFile reads a file of the guide.
func monitoringFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs/guide", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	metricName = regexp.MustCompile(`\b(?:headrace|go|process)_[a-z_]+[a-z]\b`)
	selector   = regexp.MustCompile(`\b((?:headrace|go|process)_[a-z_]+[a-z])\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
)

// known reports whether a metric exists, perhaps as one of a histogram's series, and returns its labels.
func known(names map[string]string, name string) (labels string, ok bool) {
	for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
		if base, cut := strings.CutSuffix(name, suffix); cut {
			if labels, ok = names[base]; ok {
				return labels, true
			}
		}
	}
	return "", false
}

// checkExpression holds the metrics and labels that an expression names to those that exist.
func checkExpression(t *testing.T, names map[string]string, where, text string) {
	t.Helper()
	for _, name := range metricName.FindAllString(text, -1) {
		if _, ok := known(names, name); !ok {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
	for _, part := range selector.FindAllStringSubmatch(text, -1) {
		labels, _ := known(names, part[1])
		for _, m := range matcher.FindAllStringSubmatch(part[2], -1) {
			if !slices.Contains(strings.Split(labels, ","), m[1]) {
				t.Errorf("%s: %s has the labels %s, and not %s", where, part[1], labels, m[1])
			}
		}
	}
}

// TestDashboard holds the dashboard to the metrics that there are: each panel shows something.
func TestDashboard(t *testing.T) {
	names := described(t)
	var d struct {
		Title      string
		Templating struct {
			List []struct{ Name, Definition string }
		}
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(monitoringFile(t, "grafana.json")), &d); err != nil {
		t.Fatal(err)
	}
	graphs := 0
	for _, v := range d.Templating.List {
		checkExpression(t, names, "variable "+v.Name, v.Definition)
	}
	for _, p := range d.Panels {
		if p.Type == "row" {
			continue
		}
		graphs++
		if len(p.Targets) == 0 {
			t.Errorf("panel %s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			if !metricName.MatchString(target.Expr) {
				t.Errorf("panel %s: %q names no metric", p.Title, target.Expr)
			}
			checkExpression(t, names, "panel "+p.Title, target.Expr)
		}
	}
	if graphs < 15 {
		t.Errorf("%d panels were found", graphs)
	}
}

// TestAlerts holds the alert rules to the metrics that there are, and to headings of the runbooks, which have a
// part for each.
func TestAlerts(t *testing.T) {
	names := described(t)
	text, runbooks := monitoringFile(t, "alerts.yaml"), monitoringFile(t, "11-runbooks.md")
	var anchors []string
	for _, heading := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(runbooks, -1) {
		kept := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		anchors = append(anchors, strings.ReplaceAll(kept, " ", "-"))
	}
	rules := strings.Split(text, "- alert: ")[1:]
	for _, rule := range rules {
		alert, _, _ := strings.Cut(rule, "\n")
		field := func(name string) string {
			found := regexp.MustCompile(`(?m)^ +` + name + `: (.*)$`).FindStringSubmatch(rule)
			if found == nil {
				t.Errorf("%s has no %s", alert, name)
				return ""
			}
			return found[1]
		}
		expression := field("expr")
		if !metricName.MatchString(expression) && !strings.HasPrefix(expression, "up{") {
			t.Errorf("%s: %q names no metric", alert, expression)
		}
		checkExpression(t, names, alert, expression)
		if alert == "HeadraceNobodyReads" { // of the ways to read, none may be forgotten
			for _, read := range []string{"get_records_success_total", "subscribe_to_shard_event_success_total"} {
				if !strings.Contains(expression, read) {
					t.Errorf("%s does not count %s", alert, read)
				}
			}
		}
		field("summary")
		page, anchor, _ := strings.Cut(field("runbook"), "#")
		if page != "11-runbooks.md" || !slices.Contains(anchors, anchor) {
			t.Errorf("%s: the runbooks have no part %s; there are %v", alert, anchor, anchors)
		}
		if !strings.Contains(runbooks, "`"+alert+"`") {
			t.Errorf("the runbooks do not mention %s", alert)
		}
	}
	if len(rules) < 10 {
		t.Errorf("%d rules were found", len(rules))
	}
}

// TestGuideNamesMetricsThatExist reads what the guide says of metrics.
func TestGuideNamesMetricsThatExist(t *testing.T) {
	names := described(t)
	pages, err := filepath.Glob("../../docs/guide/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatalf("pages: %v, %v", pages, err)
	}
	for _, page := range pages {
		text := monitoringFile(t, filepath.Base(page))
		for _, quoted := range regexp.MustCompile("`(headrace_[a-z_]+[a-z])(\\{[^`]*\\})?`").FindAllStringSubmatch(text, -1) {
			checkExpression(t, names, filepath.Base(page), quoted[1]+quoted[2])
		}
	}
}
