package inspect

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
)

// The picture, in pixels. It is made of bars, not of single columns: a column of
// a few seconds of speech is shorter than a period of the voice, and would show
// that instead of the words. Full scale reaches up to a margin, so that sound at
// full scale is seen to end there and not to be cut.
const (
	pictureWidth  = 1200
	pictureHeight = 300
	pictureMargin = 6
	barWidth      = 3
	barPitch      = 4 // from one bar to the next
	pictureBars   = pictureWidth / barPitch
)

// Colours that stand out from white and from black alike; where there is no
// sound the picture is transparent.
var (
	axisColour = color.NRGBA{R: 0x94, G: 0xA3, B: 0xB8, A: 0xFF}
	peakColour = color.NRGBA{R: 0x7D, G: 0xB2, B: 0xF7, A: 0xFF}
	rmsColour  = color.NRGBA{R: 0x2B, G: 0x6C, B: 0xE4, A: 0xFF}
)

// WritePNG draws the sound from left to right, 1200 by 300 pixels: its extremes
// in light blue, its RMS in a darker one inside them, both to the scale of full
// scale, over a grey line at zero. Silence is the line alone. The background is
// transparent. Its error is that of out.
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

// height is where a sample from -1 to 1 is, in pixels from the top.
func height(sample float64) float64 {
	const middle = pictureHeight / 2.0
	return middle - sample*(middle-pictureMargin)
}

// paint fills column x from top to bottom, a pixel covered in part in part.
func paint(img *image.NRGBA, x int, top, bottom float64, c color.NRGBA) {
	for y := int(top); y < pictureHeight && float64(y) < bottom; y++ {
		covered := min(bottom, float64(y+1)) - max(top, float64(y))
		if covered > 0 {
			img.SetNRGBA(x, y, over(c, covered, img.NRGBAAt(x, y)))
		}
	}
}

// over is colour c, with an opacity of alpha, on top of what is below.
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
