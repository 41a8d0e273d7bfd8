package redisstream_test

import (
	"testing"

	"gale/jobs/jobstest"
	"gale/jobs/redisstream"
	"gale/jobs/redistest"
)

func BenchmarkLateness(b *testing.B) {
	address := redistest.StartAOF(b).URL()
	jobstest.BenchmarkLateness(b, open(b, address, redisstream.Options{}), open(b, address, redisstream.Options{}))
}
