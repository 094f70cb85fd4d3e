package regret

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/template"

	"penstock/bench/regret/peers"
)

// The page and the figures that it is made of, as seen from this package's folder.
const (
	pagePath    = "../../docs/regret.md"
	figuresPath = "testdata/figures.json"
)

//go:embed testdata/page.md.tmpl
var pageText string

// peerNames are the peers that have a column, in its order.
func peerNames() []string {
	var names []string
	for _, limiter := range peers.All() {
		names = append(names, limiter().Name())
	}
	return names
}

// writePage puts new figures in the place of old ones of the same rows, and writes the page.
func writePage(fresh []outcome) error {
	all, err := readFigures()
	if err != nil {
		return err
	}
	var kept []outcome
	for _, r := range suite() {
		id, _ := r.Name()
		for _, of := range [][]outcome{fresh, all} {
			if i := slices.IndexFunc(of, func(o outcome) bool { return o.ID == id }); i >= 0 {
				kept = append(kept, of[i])
				break
			}
		}
	}
	data, err := json.MarshalIndent(kept, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(figuresPath, append(data, '\n'), 0o644); err != nil {
		return err
	}
	page, err := renderPage(kept)
	if err != nil {
		return err
	}
	return os.WriteFile(pagePath, []byte(page), 0o644)
}

func readFigures() ([]outcome, error) {
	data, err := os.ReadFile(figuresPath)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []outcome
	return all, json.Unmarshal(data, &all)
}

func renderPage(all []outcome) (string, error) {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]string{"Table": tableOf(all), "Marks": marksOf(all), "Notes": notesOf(all)})
	return b.String(), err
}

func tableOf(all []outcome) string {
	var b strings.Builder
	names := peerNames()
	fmt.Fprintf(&b, "| | scenario | best fixed | Penstock | worst seed | %s | after a change | probing |\n", strings.Join(names, " | "))
	b.WriteString(strings.Repeat("| --- ", len(names)+7) + "|\n")
	for _, o := range all {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |", o.ID, o.Title, o.Best, o.Penstock, orDash(o.Penstock.Least > 0, "%.1f %%", 100*o.Penstock.Least))
		for _, name := range names {
			p, ok := o.Peers[name]
			fmt.Fprintf(&b, " %s |", orDash(ok, "%v", p))
		}
		var after []string
		for _, n := range o.After {
			after = append(after, orDash(n >= 0, "%.0f", n))
		}
		fmt.Fprintf(&b, " %s | %.1f %% |\n", orDash(len(after) > 0, "%s", strings.Join(after, ", ")), 100*o.Probing)
	}
	return b.String()
}

func orDash(ok bool, format string, args ...any) string {
	if !ok {
		return "-"
	}
	return fmt.Sprintf(format, args...)
}

// marksOf says for each mark where it is met and where not.
func marksOf(all []outcome) string {
	var b strings.Builder
	b.WriteString("| mark | met | missed |\n| --- | --- | --- |\n")
	for _, m := range marks {
		var met, missed []string
		for _, o := range all {
			for _, x := range o.Marks {
				switch {
				case x.Mark != m:
				case x.Met:
					met = append(met, o.ID)
				default:
					missed = append(missed, strings.TrimSpace(o.ID+" "+bracketed(x.Figure)))
				}
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", m, orDash(len(met) > 0, "%s", strings.Join(met, ", ")), orDash(len(missed) > 0, "%s", strings.Join(missed, "; ")))
	}
	return b.String()
}

func bracketed(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

func notesOf(all []outcome) string {
	var b strings.Builder
	for _, o := range all {
		if o.Note != "" {
			fmt.Fprintf(&b, "- %s: %s\n", o.ID, o.Note)
		}
	}
	return b.String()
}
