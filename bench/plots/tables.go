package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// tables returns README.md.
func tables(all []figure) string {
	var b strings.Builder
	b.WriteString("# Results\n\nWritten by `make bench`; [performance](../../docs/explanation/performance.md) explains them.\n")
	for _, f := range all {
		fmt.Fprintf(&b, "\n## %s\n\n![%s](%s.svg)\n\n%s, %s, load average at the start %s: `%s`\n\n",
			f.Title, f.Title, f.name, f.Taken.UTC().Format(time.DateTime+" MST"), f.Machine, f.Load, f.Command)
		f.table(&b)
		if len(f.Notes) > 0 {
			b.WriteString("\n- " + strings.Join(f.Notes, "\n- ") + "\n")
		}
	}
	return b.String()
}

// table writes a row for each series and a column for each X. For a bar chart the last
// column is the ratio to the first series of Gale.
func (f figure) table(b *strings.Builder) {
	var at []float64
	gale := 0.0
	for _, s := range f.Series {
		if gale == 0 && strings.HasPrefix(s.Name, "gale") {
			gale = s.Points[0].Y
		}
		for _, p := range s.Points {
			if !slices.Contains(at, p.X) {
				at = append(at, p.X)
			}
		}
	}
	fmt.Fprintf(b, "| %s |", f.Y)
	for _, x := range at {
		if f.X != "" {
			fmt.Fprintf(b, " %v %s |", x, f.X)
		} else {
			b.WriteString(" | ratio to gale |")
		}
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(at)))
	if f.X == "" {
		b.WriteString("--:|")
	}
	b.WriteByte('\n')
	for _, s := range f.Series {
		fmt.Fprintf(b, "| %s |", s.Name)
		for _, x := range at {
			cell := ""
			if i := slices.IndexFunc(s.Points, func(p point) bool { return p.X == x }); i >= 0 {
				cell = s.Points[i].cell()
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		if f.X == "" && gale > 0 {
			fmt.Fprintf(b, " %.2f |", s.Points[0].Y/gale)
		}
		b.WriteByte('\n')
	}
}

// cell returns the value as text, with the spread if it is known.
func (p point) cell() string {
	if p.High == 0 {
		return short(p.Y)
	}
	return fmt.Sprintf("%s (%s to %s)", short(p.Y), short(p.Low), short(p.High))
}
