package main

import (
	"bytes"
	"image/color"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// ours is Gale's colour, and others are those of the rest: of Okabe and Ito, which
// can be told apart by whoever sees fewer colours.
var (
	ours   = []color.Color{color.RGBA{0, 114, 178, 255}, color.RGBA{86, 180, 233, 255}, color.RGBA{0, 158, 115, 255}}
	others = []color.Color{color.RGBA{230, 159, 0, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{204, 121, 167, 255}, color.RGBA{110, 110, 110, 255}, color.RGBA{0, 0, 0, 255}}
)

// draw makes the SVG.
func (f figure) draw() ([]byte, error) {
	p := plot.New()
	p.Title.Text = f.Title
	p.Title.Padding = vg.Points(8)
	p.BackgroundColor = color.White // legible on a dark page, too
	height := 3.6 * vg.Inch
	var err error
	if f.X == "" {
		err = f.bars(p)
		height = vg.Length(len(f.Series))*0.42*vg.Inch + 1.1*vg.Inch
	} else {
		err = f.lines(p)
	}
	if err != nil {
		return nil, err
	}
	w, err := p.WriterTo(6.6*vg.Inch, height, "svg")
	if err != nil {
		return nil, err
	}
	var svg bytes.Buffer
	_, err = w.WriteTo(&svg)
	return svg.Bytes(), err
}

// bars draws a bar and its value for each series, the first on top.
func (f figure) bars(p *plot.Plot) error {
	var names []string
	longest := 0.0
	values := plotter.XYLabels{}
	colours := palette()
	for i, s := range slices.Backward(f.Series) {
		at, y := float64(len(f.Series)-1-i), s.Points[0].Y
		bar, err := plotter.NewBarChart(plotter.Values{y}, vg.Points(16))
		if err != nil {
			return err
		}
		bar.Horizontal, bar.XMin, bar.LineStyle.Width = true, at, 0
		bar.Color = colours(s.Name)
		p.Add(bar)
		names, longest = append(names, s.Name), max(longest, y)
		values.XYs = append(values.XYs, plotter.XY{X: y, Y: at})
		values.Labels = append(values.Labels, " "+short(y))
	}
	labels, err := plotter.NewLabels(values)
	if err != nil {
		return err
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].YAlign = -0.3
	}
	p.Add(labels)
	p.NominalY(names...)
	p.X.Label.Text = f.Y
	p.X.Min, p.X.Max = 0, longest*1.15 // room for the longest bar's value
	return nil
}

// lines draws a line through the values of each series, X logarithmic.
func (f figure) lines(p *plot.Plot) error {
	p.Add(plotter.NewGrid())
	colours := palette()
	var ticks []plot.Tick
	for i, s := range f.Series {
		var points plotter.XYs
		for _, v := range s.Points {
			points = append(points, plotter.XY{X: v.X, Y: v.Y})
			tick := plot.Tick{Value: v.X, Label: strconv.FormatFloat(v.X, 'f', -1, 64)}
			if !slices.Contains(ticks, tick) {
				ticks = append(ticks, tick)
			}
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		line.Color, line.Width = colours(s.Name), vg.Points(1.8)
		dots.Color, dots.Shape, dots.Radius = line.Color, shape(i), vg.Points(3.5)
		p.Add(line, dots)
		p.Legend.Add(s.Name, line, dots)
	}
	p.X.Label.Text, p.Y.Label.Text = f.X, f.Y
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.ConstantTicks(ticks)
	p.Y.Min = 0
	if f.Log {
		p.Y.Min, p.Y.Max = p.Y.Max, 0
		for _, s := range f.Series {
			for _, v := range s.Points {
				p.Y.Min, p.Y.Max = min(p.Y.Min, v.Y), max(p.Y.Max, v.Y)
			}
		}
		p.Y.Min, p.Y.Max = p.Y.Min/1.5, p.Y.Max*1.5
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades{}
	}
	p.Legend.Top, p.Legend.Padding = true, vg.Points(3)
	p.Legend.YOffs = vg.Points(-4)
	return nil
}

// decades marks 1, 2 and 5 of each power of ten.
type decades struct{}

func (decades) Ticks(least, most float64) (all []plot.Tick) {
	for power := 1e-6; power <= most; power *= 10 {
		for _, step := range []float64{1, 2, 5} {
			if v := power * step; v >= least && v <= most {
				all = append(all, plot.Tick{Value: v, Label: short(v)})
			}
		}
	}
	return all
}

// palette returns what gives each series its colour.
func palette() func(name string) color.Color {
	var mine, theirs int
	return func(name string) color.Color {
		if strings.HasPrefix(name, "gale") {
			mine++
			return ours[(mine-1)%len(ours)]
		}
		theirs++
		return others[(theirs-1)%len(others)]
	}
}

func shape(i int) draw.GlyphDrawer {
	shapes := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.TriangleGlyph{}, draw.PyramidGlyph{}, draw.RingGlyph{}, draw.SquareGlyph{}}
	return shapes[i%len(shapes)]
}

// short is a value with three digits that mean something.
func short(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
