package redisstream_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/jobstest"
	"github.com/galeserver/gale/jobs/redisstream"
)

func BenchmarkLateness(b *testing.B) {
	address := redistest.StartAOF(b).URL()
	jobstest.BenchmarkLateness(b, open(b, address, redisstream.Options{}), open(b, address, redisstream.Options{}))
}

// BenchmarkList reads all pages of 100,000 tasks that do not match. It also measures the CPU
// time of Redis.
func BenchmarkList(b *testing.B) {
	server := redistest.Start(b)
	cpu := func() float64 {
		info, err := server.Client().InfoMap(b.Context(), "cpu").Result()
		if err != nil {
			b.Fatal(err)
		}
		user, userErr := strconv.ParseFloat(info["CPU"]["used_cpu_user"], 64)
		system, systemErr := strconv.ParseFloat(info["CPU"]["used_cpu_sys"], 64)
		if err := errors.Join(userErr, systemErr); err != nil {
			b.Fatal(err)
		}
		return user + system
	}
	s := open(b, server.URL(), redisstream.Options{})
	for n := range 100 {
		g := jobs.NewGroup{ID: fmt.Sprint("group-", n)}
		for i := range jobs.MaxMembers {
			g.Members = append(g.Members, jobs.NewTask{
				ID: fmt.Sprintf("task-%d-%d", n, i), Name: "mail", Args: fmt.Appendf(nil, `["letter %d to Zurich"]`, i),
			})
		}
		if _, err := s.EnqueueGroup(b.Context(), g); err != nil {
			b.Fatal(err)
		}
	}
	for _, bench := range []struct {
		name  string
		query jobs.Query
	}{
		{"text", jobs.Query{Text: "Zanzibar"}},
		{"state", jobs.Query{State: jobs.StateFailed}},
		{"queue", jobs.Query{Queue: "reports"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			began := cpu()
			for b.Loop() {
				for q := bench.query; ; {
					page, err := s.List(b.Context(), q)
					if err != nil || len(page.Tasks) > 0 {
						b.Fatal(page, err)
					}
					if q.Before = page.Next; q.Before == 0 {
						break
					}
				}
			}
			b.ReportMetric((cpu()-began)*1000/float64(b.N), "redis-ms/op")
		})
	}
}
