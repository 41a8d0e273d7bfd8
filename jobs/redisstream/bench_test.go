package redisstream_test

import (
	"testing"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs/jobstest"
	"github.com/galeserver/gale/jobs/redisstream"
)

func BenchmarkLateness(b *testing.B) {
	address := redistest.StartAOF(b).URL()
	jobstest.BenchmarkLateness(b, open(b, address, redisstream.Options{}), open(b, address, redisstream.Options{}))
}
