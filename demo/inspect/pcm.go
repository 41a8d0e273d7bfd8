package inspect

import (
	"encoding/binary"
	"math"
)

// pcmDecoder returns the function that converts the samples of a WAVE file to numbers between
// -1 and 1, or nil if the encoding is not supported. size is the number of bytes in a sample.
// A sample with fewer bits uses the highest ones, as the format requires, so unused bits need
// no special treatment.
func pcmDecoder(encoding uint16, size int) func(samples []float64, raw []byte) {
	switch {
	case encoding == encodingPCM && size >= 1 && size <= 4:
		return [...]func([]float64, []byte){decode8, decode16, decode24, decode32}[size-1]
	case encoding == encodingFloat && size == 4:
		return decodeFloat32
	case encoding == encodingFloat && size == 8:
		return decodeFloat64
	case encoding == encodingALaw && size == 1:
		return func(samples []float64, raw []byte) { decodeTable(samples, raw, aLaw) }
	case encoding == encodingMuLaw && size == 1:
		return func(samples []float64, raw []byte) { decodeTable(samples, raw, muLaw) }
	}
	return nil
}

// decode8 decodes unsigned samples. All larger samples are signed.
func decode8(samples []float64, raw []byte) {
	for i, b := range raw {
		samples[i] = (float64(b) - 1<<7) / (1 << 7)
	}
}

func decode16(samples []float64, raw []byte) {
	for i := range len(raw) / 2 {
		samples[i] = float64(int16(binary.LittleEndian.Uint16(raw[i*2:]))) / (1 << 15)
	}
}

func decode24(samples []float64, raw []byte) {
	for i := range len(raw) / 3 {
		b := raw[i*3 : i*3+3]
		v := int32(b[0])<<8 | int32(b[1])<<16 | int32(b[2])<<24
		samples[i] = float64(v) / (1 << 31)
	}
}

func decode32(samples []float64, raw []byte) {
	for i := range len(raw) / 4 {
		samples[i] = float64(int32(binary.LittleEndian.Uint32(raw[i*4:]))) / (1 << 31)
	}
}

func decodeFloat32(samples []float64, raw []byte) {
	for i := range len(raw) / 4 {
		samples[i] = clip(float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[i*4:]))))
	}
}

func decodeFloat64(samples []float64, raw []byte) {
	for i := range len(raw) / 8 {
		samples[i] = clip(math.Float64frombits(binary.LittleEndian.Uint64(raw[i*8:])))
	}
}

// clip limits a sample to full scale, as sox does. It returns 0 for NaN.
func clip(v float64) float64 {
	if v != v {
		return 0
	}
	return max(-1, min(v, 1))
}

func decodeTable(samples []float64, raw []byte, expand func(byte) int16) {
	for i, b := range raw {
		samples[i] = float64(expand(b)) / (1 << 15)
	}
}

// aLaw and muLaw expand a compressed byte of telephony (ITU-T G.711) to 16 bits.
func aLaw(b byte) int16 {
	b ^= 0x55
	v := int16(b&0x0F)<<4 + 8
	if exponent := b >> 4 & 7; exponent > 0 {
		v = (v + 0x100) << (exponent - 1)
	}
	if b&0x80 == 0 {
		return -v
	}
	return v
}

func muLaw(b byte) int16 {
	b = ^b
	const bias = 0x84
	v := (int16(b&0x0F)<<3+bias)<<(b>>4&7) - bias
	if b&0x80 != 0 {
		return -v
	}
	return v
}
