package uploads

import (
	"bytes"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/galeserver/gale/pool"
)

// For any body the only changes on disk are the files that are stored according to the
// response, and these are complete. The result is the same if the body is read byte by
// byte, and an incomplete body stores nothing.
func FuzzMultipart(f *testing.F) {
	seeds := []string{
		formBody(), formBody(filePart("d", "a", "content")),
		formBody(fieldPart("x", "y"), filePart("d/e", "ü", ""), filePart("d", "", ""), filePart("real", "a", "x")),
		formBody(filePart("..", "a", "x"), filePart("d", "../../outside/new", "x"), filePart("out", "new", "x"), filePart("real", "new", "x")),
		formBody(filePart("in", "x", "x"), filePart("file", "x", "x"), filePart("d", "a", "1"), filePart("d", "a", "2"), filePart("d/a", "b", "3")),
		formBody(part(`form-data; name*=utf-8''d; filename*=UTF-8''%2e%2e%2fa`, "x"), part(`form-data; name="d"; filename="a\"b\\c"`, "x")),
		"preamble\r\n" + formBody(filePart("d", "a", "\r\n--"+testBoundary[:9])) + "epilogue",
		"--" + testBoundary + "\nContent-Disposition: form-data; name=d; filename=a\n\nx\n--" + testBoundary + "--\n",
	}
	for _, seed := range seeds {
		// A short boundary survives mutations more often.
		seed = strings.ReplaceAll(strings.ReplaceAll(seed, testBoundary, "b"), "Content-Type: application/octet-stream\r\n", "")
		f.Add([]byte(seed), "b")
		f.Add([]byte(seed[:len(seed)*2/3]), "b")
	}
	f.Add([]byte(seeds[1]), testBoundary)
	o := Options{MaxFile: 200, MaxParts: 8, MaxFiles: 5, Pool: withPool(f, pool.Options{Workers: 1})}
	s, parent := storeWithNeighbours(f, o)
	before := tree(f, parent)
	f.Fuzz(func(t *testing.T, body []byte, boundary string) {
		first, err := s.Multipart(t.Context(), bytes.NewReader(body), boundary)
		stored := checkAndRemoveStored(t, parent, before, first, err)

		again, errAgain := s.Multipart(t.Context(), iotest.OneByteReader(bytes.NewReader(body)), boundary)
		if settled := checkAndRemoveStored(t, parent, before, again, errAgain); !maps.Equal(stored, settled) {
			t.Errorf("stored %v, and byte by byte %v", stored, settled)
		}

		broken := io.MultiReader(bytes.NewReader(body), iotest.ErrReader(io.ErrUnexpectedEOF))
		if resp, err := s.Multipart(t.Context(), broken, boundary); err == nil {
			t.Errorf("incomplete body: %+v", resp)
		}
		if after := tree(t, parent); !maps.Equal(before, after) {
			t.Fatalf("an incomplete body left %v", after)
		}
	})
}

// checkAndRemoveStored compares the files on disk with the response, removes them and
// returns them by name.
func checkAndRemoveStored(t *testing.T, parent string, before map[string]string, resp Response, err error) map[string]string {
	t.Helper()
	stored := map[string]string{}
	root := filepath.Join(parent, "up")
	for _, file := range resp.Files {
		if file.Code == CodeInternal || err != nil {
			t.Errorf("%+v, %v", resp, err)
		}
		if file.Code != CodeStored {
			continue
		}
		name := file.Directory + "/" + file.Filename
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || CheckName(file.Directory, file.Filename) != nil || file.SHA256 != sum(string(content)) || file.Size != int64(len(content)) || len(content) > 200 {
			t.Errorf("%+v: %q, %v", file, content, err)
		}
		stored[name] = string(content)
	}
	for name := range stored {
		removePublished(t, root, name, before)
	}
	if after := tree(t, parent); !maps.Equal(before, after) {
		t.Fatalf("files that are not in the response: before %v, after %v", before, after)
	}
	return stored
}
