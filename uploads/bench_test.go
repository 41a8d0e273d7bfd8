package uploads

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/galeserver/gale/pool"
)

const benchSize = 64 << 20

func plainCopy(b *testing.B, s *Store, name string) {
	f, err := os.Create(filepath.Join(s.disk.root.Name(), name))
	if err != nil {
		b.Fatal(err)
	}
	// Without ReadFrom, which would have another buffer.
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, zeros(benchSize), make([]byte, chunkSize))
	if err == nil {
		err = s.disk.sys.fsync(f)
	}
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		b.Fatal(err)
	}
}

func uploadStream(b *testing.B, s *Store, name string) {
	u, err := s.Create(b.Context(), "", "")
	if err != nil {
		b.Fatal(err)
	}
	defer u.Discard()
	if _, err := u.ReadFrom(b.Context(), zeros(benchSize)); err != nil {
		b.Fatal(err)
	}
	if _, err := u.Publish(b.Context(), "d", name); err != nil {
		b.Fatal(err)
	}
}

func uploadForm(b *testing.B, s *Store, name string) {
	head, tail, _ := strings.Cut(formBody(filePart("d", name, "|")), "|")
	body := io.MultiReader(strings.NewReader(head), zeros(benchSize), strings.NewReader(tail))
	if resp, err := s.Multipart(b.Context(), body, testBoundary); err != nil || resp.Code != CodeStored {
		b.Fatalf("%+v, %v", resp, err)
	}
}

// BenchmarkUpload compares a plain copy into a synced file, an upload, which adds
// SHA-256, and a form, which adds parsing.
func BenchmarkUpload(b *testing.B) {
	for _, row := range []struct {
		name   string
		upload func(b *testing.B, s *Store, name string)
	}{{"plain copy", plainCopy}, {"stream", uploadStream}, {"form", uploadForm}} {
		for _, sync := range []bool{false, true} {
			b.Run(row.name+"/sync="+strconv.FormatBool(sync), func(b *testing.B) {
				change := withoutSync
				if sync {
					change = withSync
				}
				s := openStore(b, b.TempDir(), Options{Pool: withPool(b, pool.Options{Workers: 5})}, change)
				b.SetBytes(benchSize)
				n := 0
				for b.Loop() {
					n++
					name := strconv.Itoa(n)
					row.upload(b, s, name)
					if err := s.Remove(b.Context(), "d", name); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkSmallFiles uploads a form of many small files. Linking and syncing dominate.
func BenchmarkSmallFiles(b *testing.B) {
	s := openStore(b, b.TempDir(), Options{Pool: withPool(b, pool.Options{Workers: 5})}, withSync)
	n := 0
	for b.Loop() {
		var parts []string
		n++
		for i := range 50 {
			parts = append(parts, filePart("d"+strconv.Itoa(n), strconv.Itoa(i), "content"))
		}
		if resp, err := s.Multipart(b.Context(), strings.NewReader(formBody(parts...)), testBoundary); err != nil || resp.Code != CodeStored {
			b.Fatalf("%+v, %v", resp, err)
		}
	}
}

// BenchmarkStored measures the cost of a pending record: forms of one and of 50 small
// files, with and without Options.Stored.
func BenchmarkStored(b *testing.B) {
	for _, row := range []struct {
		name   string
		stored func(context.Context, string, File) error
	}{{"none", nil}, {"recorded", func(context.Context, string, File) error { return nil }}} {
		for _, files := range []int{1, 50} {
			b.Run(row.name+"/files="+strconv.Itoa(files), func(b *testing.B) {
				s := openStore(b, b.TempDir(), Options{Stored: row.stored}, withSync)
				n := 0
				for b.Loop() {
					n++
					var parts []string
					for i := range files {
						parts = append(parts, filePart("d", strconv.Itoa(n)+"-"+strconv.Itoa(i), "content"))
					}
					if resp, err := s.Multipart(b.Context(), strings.NewReader(formBody(parts...)), testBoundary); err != nil || resp.Code != CodeStored {
						b.Fatalf("%+v, %v", resp, err)
					}
				}
			})
		}
	}
}
