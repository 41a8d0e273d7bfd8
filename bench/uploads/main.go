// Command uploads compares the throughput of one large upload in Gale, nginx, tusd and
// Tornado, by the size of the file: make bench-uploads.
//
// An upload is complete when the file is on disk and its SHA-256 is known. Gale computes the
// SHA-256 while it receives the file, by a form or by tus in one PATCH. nginx's dav module
// receives a PUT, followed by sha256sum and sync. tusd receives tus in one PATCH, into its
// filestore, followed by the same. The application on Tornado keeps the file
// in memory and writes it without a SHA-256. The servers run in turns, and ratios are
// computed within a round, because absolute times vary on a busy machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/galeserver/gale/bench/figure"
)

func main() {
	mib := flag.String("mib", "1,16,128,512", "`sizes` of the file in MiB, comma separated")
	rounds := flag.Int("rounds", 3, "`number` of uploads of each size to each server")
	var out figure.Output
	out.Flags(flag.CommandLine)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	sizes, err := parse(*mib)
	if err == nil {
		err = out.Check()
	}
	if err == nil {
		err = run(ctx, os.Stdout, sizes, *rounds, &out)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "uploads:", err)
		os.Exit(1)
	}
}

// parse reads the sizes, in MiB.
func parse(text string) (sizes []int64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		size, err := strconv.ParseInt(part, 10, 64)
		if err != nil || size < 1 || size > 1024 {
			return nil, fmt.Errorf("-mib: %q is not a number from 1 to 1024", part)
		}
		sizes = append(sizes, size)
	}
	return sizes, nil
}

func run(ctx context.Context, w io.Writer, sizes []int64, rounds int, out *figure.Output) (err error) {
	dir, err := os.MkdirTemp("", "gale-uploads-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, end := context.WithCancel(ctx) // ends the servers
	var peers []*peer
	defer func() {
		end()
		for _, p := range peers {
			_ = p.server.Wait() // was killed
		}
	}()
	for _, begin := range []func(context.Context, string) (*peer, error){gale, nginx, galeTus, tusd, tornado} {
		p, err := begin(ctx, dir)
		if err != nil {
			return err
		}
		peers = append(peers, p)
	}
	f := out.Begin("One upload, by size: on disk and with its SHA-256", "go run ./bench/uploads -out bench/results")
	f.X, f.Y, f.Log = "MiB", "MiB a second", true
	for _, size := range sizes {
		if err := compare(ctx, w, peers, size, rounds, f); err != nil {
			return err
		}
	}
	return out.Write(f, "uploads")
}

// compare uploads files of a size to each peer in turn.
func compare(ctx context.Context, w io.Writer, peers []*peer, size int64, rounds int, f *figure.Figure) error {
	fmt.Fprintf(w, "%d MiB a round; seconds, and throughput relative to nginx, sha256sum and sync\n", size)
	took := make([][]float64, len(peers))
	ratios := make([][]float64, len(peers))
	var resumed, beside []float64 // throughput of tus relative to the form, and to tusd
	for round := range rounds {
		for i, p := range peers {
			began := time.Now()
			if err := p.upload(ctx, size<<20); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			took[i] = append(took[i], time.Since(began).Seconds())
			if err := os.Remove(p.path); err != nil {
				return err
			}
		}
		fmt.Fprintf(w, "round %d:", round+1)
		for i, p := range peers {
			ratios[i] = append(ratios[i], took[1][round]/took[i][round])
			fmt.Fprintf(w, "  %s %.3f s (%.2f)", p.name, took[i][round], ratios[i][round])
		}
		fmt.Fprintln(w)
		resumed = append(resumed, took[0][round]/took[2][round])
		beside = append(beside, took[3][round]/took[2][round])
	}
	fmt.Fprintf(w, "median of tus relative to the form: %.2f, relative to tusd: %.2f\nmedian:", median(resumed), median(beside))
	for i, p := range peers {
		fmt.Fprintf(w, "  %s %.2f", p.name, median(ratios[i]))
		f.Add(p.name, float64(size), float64(size)/median(took[i]))
	}
	_, err := fmt.Fprintln(w)
	return err
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
