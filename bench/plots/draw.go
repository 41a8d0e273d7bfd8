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
	"gonum.org/v1/plot/vg/vgsvg"
)

// ours is the colour of Gale, others are those of the peers. They are from the palette
// of Okabe and Ito, which people with colour blindness can distinguish.
var (
	ours   = []color.Color{color.RGBA{0, 114, 178, 255}, color.RGBA{86, 180, 233, 255}, color.RGBA{0, 158, 115, 255}}
	others = []color.Color{color.RGBA{230, 159, 0, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{204, 121, 167, 255}, color.RGBA{110, 110, 110, 255}, color.RGBA{0, 0, 0, 255}, color.RGBA{240, 228, 66, 255}}
)

// The margins have room for a wider font than the measured one, because an SVG contains only
// the names of its fonts.
const (
	width  = 8.2 * vg.Inch
	margin = 0.15 * vg.Inch
	names  = 0.45 * vg.Inch // space left of bars
	legend = 2.8 * vg.Inch  // space right of lines
)

const (
	measured = "font-family:Liberation Sans"
	families = "font-family:Liberation Sans,Arial,Helvetica,sans-serif"
)

// draw returns the SVG.
func (f figure) draw() ([]byte, error) {
	plot.DefaultFont.Typeface, plot.DefaultFont.Variant = "Liberation", "Sans"
	p, key := plot.New(), plot.NewLegend()
	p.Title.Text = f.Title
	p.Title.Padding = vg.Points(8)
	var err error
	height, left, right := 3.8*vg.Inch, margin, legend
	if f.X == "" {
		err = f.bars(p)
		height, left, right = vg.Length(len(f.Series))*0.42*vg.Inch+1.3*vg.Inch, names, 2*margin
	} else {
		err = f.lines(p, &key)
	}
	if err != nil {
		return nil, err
	}
	c := vgsvg.New(width, height)
	whole := draw.New(c)
	whole.SetColor(color.White) // readable on a dark page too
	whole.Fill(whole.Rectangle.Path())
	p.BackgroundColor = nil
	p.Draw(draw.Crop(whole, left, -right, margin, -margin))
	if f.X != "" {
		key.Draw(draw.Crop(whole, width-right+margin, -margin, margin, -0.5*vg.Inch))
	}
	var svg bytes.Buffer
	_, err = c.WriteTo(&svg)
	return bytes.ReplaceAll(svg.Bytes(), []byte(measured), []byte(families)), err
}

// bars draws a bar with its value for each series, the first one on top.
func (f figure) bars(p *plot.Plot) error {
	var axis []string
	longest := 0.0
	values := plotter.XYLabels{}
	colours := f.colours()
	for i, s := range slices.Backward(f.Series) {
		at, y := float64(len(f.Series)-1-i), s.Points[0].Y
		bar, err := plotter.NewBarChart(plotter.Values{y}, vg.Points(16))
		if err != nil {
			return err
		}
		bar.Horizontal, bar.XMin, bar.LineStyle.Width = true, at, 0
		bar.Color = colours[i]
		p.Add(bar)
		axis, longest = append(axis, s.Name+"   "), max(longest, y)
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
	p.NominalY(axis...)
	p.X.Label.Text = f.Y
	p.X.Min, p.X.Max = 0, longest*1.15 // room for the longest bar's value
	return nil
}

// lines draws a line through the values of each series. The X axis is logarithmic.
func (f figure) lines(p *plot.Plot, key *plot.Legend) error {
	p.Add(plotter.NewGrid())
	colours := f.colours()
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
		line.Color, line.Width = colours[i], vg.Points(1.8)
		dots.Color, dots.Shape, dots.Radius = line.Color, shape(i), vg.Points(3.5)
		p.Add(line, dots)
		key.Add(s.Name, line, dots)
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
	key.Top, key.Left, key.Padding = true, true, vg.Points(3)
	return nil
}

// decades places ticks at 1, 2 and 5 times each power of ten.
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

// colours returns the colours of the series in their order.
func (f figure) colours() (all []color.Color) {
	var mine, theirs int
	for _, s := range f.Series {
		if strings.HasPrefix(s.Name, "gale") {
			all = append(all, ours[mine%len(ours)])
			mine++
		} else {
			all = append(all, others[theirs%len(others)])
			theirs++
		}
	}
	return all
}

func shape(i int) draw.GlyphDrawer {
	shapes := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.RingGlyph{}, draw.SquareGlyph{}, draw.CrossGlyph{}}
	return shapes[i%len(shapes)]
}

// short formats a value with three significant digits.
func short(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
