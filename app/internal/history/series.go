package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// names are the names of the values of a point, in their order.
var names = [...]string{
	"requests", "errors", "latency_p50", "latency_p95",
	"tasks_succeeded", "tasks_failed", "tasks_retried", "tasks_waiting", "task_p95",
}

// point holds the values of a point; NaN is an unknown value.
type point [len(names)]float64

var unknown = func() (p point) {
	for i := range p {
		p[i] = math.NaN()
	}
	return p
}()

// series is a list of points at a fixed distance. Points are identified by a bucket, the
// number of steps since the Unix epoch.
type series struct {
	step int64 // seconds
	size int   // maximum number of points

	points []point // oldest first
	end    int64   // bucket after the last point
}

// set sets a point. It becomes the last one. Points between it and the previous last one are
// unknown.
func (s *series) set(bucket int64, p point) {
	s.align(bucket)
	if len(s.points) > 0 && s.end == bucket+1 {
		s.points[len(s.points)-1] = p
		return
	}
	s.points, s.end = append(s.points, p), bucket+1
	s.trim()
}

// align moves the points in time so that none is later than bucket. If the clock was set
// back, the points keep their distance from the present time. If bucket is later than the
// last point, the time between them is unknown: the server was down, or the clock was set.
func (s *series) align(bucket int64) {
	missing := bucket - s.end
	switch {
	case missing == -1:
		return // bucket is that of the last point
	case len(s.points) == 0 || missing >= int64(s.size):
		s.points = nil
	case missing > 0:
		for range missing {
			s.points = append(s.points, unknown)
		}
		s.trim()
	}
	s.end = bucket
}

// trim drops the oldest points above the maximum number.
func (s *series) trim() {
	if more := len(s.points) - s.size; more > 0 {
		s.points = append(s.points[:0], s.points[more:]...)
	}
}

// encodedSeries is the form of a series in JSON.
type encodedSeries struct {
	Step   int64              `json:"step"` // seconds between two points
	From   int64              `json:"from"` // Unix time of the first point, in seconds
	Values map[string][]value `json:"values"`
}

// encode returns the series. now is the time of an empty one.
func (s *series) encode(now int64) encodedSeries {
	e := encodedSeries{Step: s.step, From: (s.end - int64(len(s.points))) * s.step, Values: map[string][]value{}}
	if len(s.points) == 0 {
		e.From = now / s.step * s.step
	}
	for i, name := range names {
		values := make([]value, len(s.points))
		for j, p := range s.points {
			values[j] = value(p[i])
		}
		e.Values[name] = values
	}
	return e
}

// decode reads a series. Values that e lacks are unknown: they are of another release.
func (s *series) decode(e encodedSeries) error {
	n := 0
	for _, values := range e.Values {
		n = max(n, len(values))
	}
	if e.Step != s.step || n > s.size || e.From < 0 {
		return fmt.Errorf("series of %d points with a step of %d s from %d", n, e.Step, e.From)
	}
	points := make([]point, n)
	for i := range points {
		points[i] = unknown
	}
	for i, name := range names {
		values, ok := e.Values[name]
		if ok && len(values) != n {
			return fmt.Errorf("%d points of %s instead of %d", len(values), name, n)
		}
		for j, v := range values {
			points[j][i] = float64(v)
		}
	}
	s.points, s.end = points, e.From/s.step+int64(n)
	return nil
}

// value is a number in JSON, with five digits; NaN is null.
type value float64

// MarshalJSON implements json.Marshaler.
func (v value) MarshalJSON() ([]byte, error) {
	if x := float64(v); !math.IsNaN(x) {
		return strconv.AppendFloat(nil, x, 'g', 5, 64), nil
	}
	return []byte("null"), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *value) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*v = value(math.NaN())
		return nil
	}
	var x float64
	if err := json.Unmarshal(text, &x); err != nil {
		return err
	}
	if x < 0 {
		return errors.New("a value is negative")
	}
	*v = value(x)
	return nil
}
