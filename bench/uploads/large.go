package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/galeserver/gale/bench/figure"
)

// large compares one large upload, by the size of the file.
func large(ctx context.Context, w io.Writer, dir string, o options, out *figure.Output) error {
	peers, end, err := begin(ctx, filepath.Join(dir, "large"), galeForm, named("nginx, sha256sum, sync", nginxSynced), galeTus,
		named("tusd, sha256sum, sync", tusd), named("Tornado, no SHA-256", tornado))
	defer end()
	if err != nil {
		return err
	}
	f := out.Begin("One upload, by size: on disk and with its SHA-256", "go run ./bench/uploads -out bench/results")
	f.X, f.Y, f.Log = "MiB", "MiB a second", true
	for _, size := range o.mib {
		if err := compare(ctx, w, peers, size, o.rounds, f); err != nil {
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
