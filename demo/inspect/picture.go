package inspect

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
)

// Sizes in the picture, in pixels. The picture consists of bars, because single columns are
// too narrow: in a few seconds of speech, the time of a column is shorter than a period of the
// voice, so the picture would show periods and not words. The margin shows that a sound at full
// scale ends there and is not cut off.
const (
	pictureWidth  = 1200
	pictureHeight = 300
	pictureMargin = 6
	barWidth      = 3
	barPitch      = 4 // distance from the start of one bar to the next
	pictureBars   = pictureWidth / barPitch
)

// Colours that are visible on white and on black. The rest of the picture is transparent.
var (
	axisColour = color.NRGBA{R: 0x94, G: 0xA3, B: 0xB8, A: 0xFF}
	peakColour = color.NRGBA{R: 0x7D, G: 0xB2, B: 0xF7, A: 0xFF}
	rmsColour  = color.NRGBA{R: 0x2B, G: 0x6C, B: 0xE4, A: 0xFF}
)

// WritePNG writes the waveform to out as a PNG image of 1200 by 300 pixels. The time runs from
// left to right, and the height of the picture is full scale. The range between the lowest and
// highest samples is light blue, the RMS level inside it is darker, and a grey line marks zero.
// The background is transparent. The error is that of out.
func (w *Waveform) WritePNG(out io.Writer) error {
	img := image.NewNRGBA(image.Rect(0, 0, pictureWidth, pictureHeight))
	for x := range pictureWidth {
		paint(img, x, pictureHeight/2-0.5, pictureHeight/2+0.5, axisColour)
	}
	for i, b := range w.divide(pictureBars) {
		rms := math.Sqrt(b.squares / float64(b.moments))
		for x := i * barPitch; x < i*barPitch+barWidth; x++ {
			paint(img, x, height(b.high), height(b.low), peakColour)
			paint(img, x, height(min(rms, b.high)), height(max(-rms, b.low)), rmsColour)
		}
	}
	if err := png.Encode(out, img); err != nil {
		return fmt.Errorf("write waveform: %w", err)
	}
	return nil
}

// height returns the position of a sample between -1 and 1, in pixels from the top.
func height(sample float64) float64 {
	const middle = pictureHeight / 2.0
	return middle - sample*(middle-pictureMargin)
}

// paint fills column x from top to bottom. A pixel that is only partly covered gets a partly
// transparent colour.
func paint(img *image.NRGBA, x int, top, bottom float64, c color.NRGBA) {
	for y := int(top); y < pictureHeight && float64(y) < bottom; y++ {
		covered := min(bottom, float64(y+1)) - max(top, float64(y))
		if covered > 0 {
			img.SetNRGBA(x, y, over(c, covered, img.NRGBAAt(x, y)))
		}
	}
}

// over returns the colour of c, with an opacity of alpha, painted over the colour below.
func over(c color.NRGBA, alpha float64, below color.NRGBA) color.NRGBA {
	rest := float64(below.A) / 0xFF * (1 - alpha)
	total := alpha + rest
	mix := func(c, below uint8) uint8 {
		return uint8((float64(c)*alpha+float64(below)*rest)/total + 0.5)
	}
	return color.NRGBA{
		R: mix(c.R, below.R), G: mix(c.G, below.G), B: mix(c.B, below.B),
		A: uint8(total*0xFF + 0.5),
	}
}
