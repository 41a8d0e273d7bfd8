package uploads

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/galeserver/gale/pool"
)

const testBoundary = "----WebKitFormBoundaryx7Vb0"

// filePart returns a part with a file, as a browser sends it; fieldPart one with a text
// field.
func filePart(directory, filename, content string) string {
	return part(fmt.Sprintf(`form-data; name="%s"; filename="%s"`, directory, filename), content)
}

func fieldPart(name, value string) string {
	return part(fmt.Sprintf(`form-data; name="%s"`, name), value)
}

func part(disposition, content string) string {
	return "--" + testBoundary + "\r\nContent-Disposition: " + disposition +
		"\r\nContent-Type: application/octet-stream\r\n\r\n" + content + "\r\n"
}

// formBody returns the body of a form with these parts.
func formBody(parts ...string) string {
	return strings.Join(parts, "") + "--" + testBoundary + "--\r\n"
}

func codes(resp Response, want ...int) bool {
	got := make([]int, len(resp.Files))
	for i, f := range resp.Files {
		got[i] = f.Code
	}
	return slices.Equal(got, want)
}

// submit sends a body and compares the files on disk with the response.
func submit(t testing.TB, s *Store, body io.Reader) (Response, error) {
	t.Helper()
	before := tree(t, s.disk.root.Name())
	resp, err := s.Multipart(t.Context(), body, testBoundary)
	if err != nil {
		wantUnchanged(t, s.disk.root.Name(), before)
		return resp, err
	}
	after := tree(t, s.disk.root.Name())
	for _, f := range resp.Files {
		name := f.Directory + "/" + f.Filename
		content, there := after[name]
		if f.Code != CodeStored {
			if f.Size != 0 || f.SHA256 != "" || f.Reason == "OK" {
				t.Errorf("not stored, but in the response: %+v", f)
			}
			continue
		}
		if !there || f.SHA256 != sum(content) || f.Size != int64(len(content)) {
			t.Errorf("%s is not as in the response: %+v", name, f)
		}
		delete(after, name)
	}
	for name, content := range after {
		if _, ok := before[name]; !ok && content != "/" {
			t.Errorf("%s was created", name)
		}
	}
	return resp, nil
}

func TestMultipart(t *testing.T) {
	eachKind(t, Options{Pool: withPool(t, pool.Options{Workers: 2})}, func(t *testing.T, s *Store) {
		big := strings.Repeat("0123456789abcde\n", chunkSize/8) + "\r\n--" + testBoundary[:10]
		body := "This is the preamble.\r\n" + formBody(
			fieldPart("comment", "ignored"),
			filePart("music", "a.mp3", "content of a"),
			filePart("music/live", "ü 音.wav", big),
			filePart("empty", "none", ""),
		) + "This is the epilogue.\r\n--" + testBoundary + "\r\nContent-Disposition: form-data; name=x; filename=y\r\n\r\n"
		resp, err := submit(t, s, strings.NewReader(body))
		if err != nil || resp.Code != 200 || resp.Reason != "OK" || resp.Status() != 200 || !codes(resp, 200, 200, 200) {
			t.Fatalf("got %+v, %v", resp, err)
		}
		if after := tree(t, s.disk.root.Name()); after["music/live/ü 音.wav"] != big || len(after) != 8 {
			t.Errorf("left %v", slices.Sorted(maps.Keys(after)))
		}
		again, err := submit(t, s, strings.NewReader(body))
		if err != nil || again.Code != CodeExists || again.Status() != 409 || !codes(again, 501, 501, 501) {
			t.Errorf("again: %+v, %v", again, err)
		}
	})
}

func TestMultipartOneByteReader(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	body := formBody(filePart("d", "a", "content"), fieldPart("x", "y"), filePart("d", "b", "\r\n--\r\n"))
	if resp, err := submit(t, s, iotest.OneByteReader(strings.NewReader(body))); err != nil || !codes(resp, 200, 200) {
		t.Errorf("got %+v, %v", resp, err)
	}
	body = strings.NewReplacer(`"a"`, `"c"`, `"b"`, `"e"`).Replace(body)
	if resp, err := submit(t, s, iotest.DataErrReader(strings.NewReader(body))); err != nil || !codes(resp, 200, 200) {
		t.Errorf("got %+v, %v", resp, err)
	}
}

// A form is not stored if its body is incomplete, no matter where the body ends and which error
// its reader returns. There is one exception: if only the newline after the last boundary is
// missing and the reader returns io.EOF, the form is complete.
func TestMultipartIncompleteBody(t *testing.T) {
	eachKind(t, Options{Pool: withPool(t, pool.Options{Workers: 2})}, func(t *testing.T, s *Store) {
		body := "preamble\r\n" + formBody(filePart("new/d", "a", "content"), filePart("..", "x", "dropped"),
			filePart("new", "", ""), fieldPart("x", "y"), filePart("new", "b", "")) + "epilogue"
		whole := strings.Index(body, "--\r\nepilogue") + 2
		before := tree(t, s.disk.root.Name())
		cut := errors.New("connection reset")
		for n := range len(body) {
			for _, end := range []error{cut, io.ErrUnexpectedEOF, fmt.Errorf("wrapped: %w", io.EOF), io.EOF} {
				if end == io.EOF && n >= whole && n != whole+1 {
					continue
				}
				resp, err := s.Multipart(t.Context(), io.MultiReader(strings.NewReader(body[:n]), iotest.ErrReader(end)), testBoundary)
				if err == nil {
					t.Fatalf("cut at %d of %d with %v: %+v", n, len(body), end, resp)
				}
				want := []error{end, ErrBody}
				if end == io.EOF {
					want = []error{ErrMalformed}
				}
				if slices.ContainsFunc(want, func(want error) bool { return !errors.Is(err, want) }) {
					t.Errorf("cut at %d with %v: %v", n, end, err)
				}
				if after := tree(t, s.disk.root.Name()); !maps.Equal(before, after) {
					t.Fatalf("cut at %d with %v left %v", n, end, slices.Sorted(maps.Keys(after)))
				}
			}
		}
		if resp, err := submit(t, s, strings.NewReader(body[:whole])); err != nil || !codes(resp, 200, 400, 200) {
			t.Errorf("without the last newline: %+v, %v", resp, err)
		}
	})
}

// io.ErrUnexpectedEOF from the reader must not be confused with the same error from
// io.ReadFull, which means a short read at the end.
func TestReadFromIncompleteReader(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	u, err := s.Create(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	_, err = u.ReadFrom(t.Context(), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	_, err = u.ReadFrom(t.Context(), readerFunc(func([]byte) (int, error) { return 0, nil }))
	if !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that returns no bytes and no error: %v", err)
	}
}

func TestMultipartCodePerFile(t *testing.T) {
	eachKind(t, Options{MaxFile: 1000}, func(t *testing.T, s *Store) {
		mustPut(t, s, "d", "taken", "first")
		resp, err := submit(t, s, strings.NewReader(formBody(
			filePart("d", "1", "one"),
			filePart("d", "taken", "second"),
			filePart("d", "../2", "two"),
			filePart("d", `..\\..\\evil`, "two"),
			filePart("", "2", "two"),
			filePart("d", "", "content without a name"),
			filePart("d", "big", strings.Repeat("x", 1001)),
			filePart("d", "same", "the first wins"),
			filePart("d", "same", "the second does not"),
			filePart("d/taken", "x", "a file is in the way"),
			filePart("e", "1", "one"),
			filePart("e/1", "x", "the file before is in the way"),
			filePart("none", "", ""), // a file input without a chosen file
			filePart("d", "2", "two"),
		)))
		if err != nil || !codes(resp, 200, 501, 400, 400, 400, 400, 413, 200, 501, 501, 200, 501, 200) {
			t.Fatalf("got %+v, %v", resp, err)
		}
		if resp.Code != 501 || resp.Status() != 409 || resp.Reason != resp.Files[11].Reason {
			t.Errorf("the code of the response is not that of the last file that failed: %+v", resp)
		}
		after := tree(t, s.disk.root.Name())
		if after["d/same"] != "the first wins" || after["d/taken"] != "first" || after["d/2"] != "two" || len(after) != 9 {
			t.Errorf("left %v", after)
		}
	})
}

type formCase struct {
	body string
	want error // nil if the form is accepted
}

// repeatPart joins part(0) to part(n-1).
func repeatPart(n int, part func(i int) string) string {
	var parts strings.Builder
	for i := range n {
		parts.WriteString(part(i))
	}
	return parts.String()
}

// withHeader returns a file part with an additional header field of n bytes.
func withHeader(n int) string {
	delimiter := "--" + testBoundary + "\r\n"
	return delimiter + "X-Long: " + strings.Repeat("x", n) + "\r\n" + strings.TrimPrefix(filePart("d", "h", ""), delimiter)
}

// withHeaderRest is the size of the rest of the header that withHeader makes, in bytes.
var withHeaderRest = len(withHeader(0)) - len("--"+testBoundary+"\r\n"+"\r\n"+"\r\n")

// mixedPart is a part with several files, as RFC 2388, section 4.2, defined it.
const mixedPart = "--" + testBoundary + "\r\nContent-Disposition: form-data; name=\"d\"\r\nContent-Type: Multipart/Mixed; boundary=inner\r\n\r\n" +
	"--inner\r\nContent-Disposition: file; filename=\"a\"\r\n\r\nx\r\n--inner--\r\n"

// formCases are for a store of MaxFile 1 MiB, MaxParts 5 and MaxFiles 3.
func formCases() map[string]formCase {
	ok := filePart("d", "a", "content")
	return map[string]formCase{
		"nothing":                 {"", ErrMalformed},
		"no boundary in it":       {"name=value", ErrMalformed},
		"another boundary":        {strings.ReplaceAll(formBody(ok), testBoundary, "other"), ErrMalformed},
		"a long preamble":         {strings.Repeat(strings.Repeat("x", 1000)+"\r\n", 30) + formBody(ok), ErrMalformed},
		"one endless line":        {strings.Repeat("x", 1<<20) + formBody(ok), ErrMalformed},
		"no end":                  {ok, ErrMalformed},
		"another end":             {ok + "--" + testBoundary + "..\r\n", ErrMalformed},
		"a header with no colon":  {formBody(ok, "--"+testBoundary+"\r\nbroken\r\n\r\nx\r\n"), ErrMalformed},
		"a header with a control": {formBody(ok, "--"+testBoundary+"\r\nA: \x01\r\n\r\nx\r\n"), ErrMalformed},
		"no disposition":          {formBody(ok, "--"+testBoundary+"\r\nA: b\r\n\r\nx\r\n"), ErrMalformed},
		"two dispositions":        {formBody(part("form-data; name=a\r\nContent-Disposition: form-data; name=b; filename=c", "x")), ErrMalformed},
		"an attachment":           {formBody(part(`attachment; filename="a"`, "x")), ErrMalformed},
		"base64":                  {formBody(part("form-data; name=a; filename=b\r\nContent-Transfer-Encoding: base64", "eA==")), ErrMalformed},
		"binary":                  {formBody(part("form-data; name=t; filename=b\r\nContent-Transfer-Encoding: binary", "x")), nil},
		"a head to the limit":     {formBody(withHeader(DefaultMaxHead - withHeaderRest)), nil},
		"a head over the limit":   {formBody(withHeader(DefaultMaxHead - withHeaderRest + 1)), ErrMalformed},
		"a head over 20 KiB":      {formBody(withHeader(20<<10 + 1)), ErrMalformed},
		"a header of 1 MiB":       {formBody(ok, withHeader(1<<20)), ErrMalformed},
		"many small headers":      {formBody("--" + testBoundary + "\r\n" + strings.Repeat("A: b\r\n", 4000) + "\r\n\r\n"), ErrMalformed},
		"too many parts":          {formBody(ok, repeatPart(5, func(int) string { return fieldPart("x", "") })), ErrMalformed},
		"parts to the limit":      {formBody(repeatPart(5, func(int) string { return fieldPart("x", "") })), nil},
		"too many files":          {formBody(repeatPart(4, func(i int) string { return filePart("f", fmt.Sprint(i), "") })), ErrMalformed},
		"files to the limit":      {formBody(repeatPart(3, func(i int) string { return filePart("g", fmt.Sprint(i), "") })), nil},
		"a field to the limit":    {formBody(fieldPart("x", strings.Repeat("x", DefaultMaxField))), nil},
		"two fields to the limit": {formBody(fieldPart("x", strings.Repeat("x", DefaultMaxField)), fieldPart("x", strings.Repeat("x", DefaultMaxField))), nil},
		"a field over it":         {formBody(ok, fieldPart("x", strings.Repeat("x", DefaultMaxField+1))), ErrTooLarge},
		"a long epilogue":         {formBody(ok) + strings.Repeat("x", DefaultMaxField+8192), ErrTooLarge},
		"parts inside a part":     {formBody(ok, mixedPart), ErrMalformed},
		"an e-mail as a file":     {formBody(part("form-data; name=\"d\"; filename=\"m.eml\"\r\nX-Type: multipart/mixed", "x")), nil},
		"files far too large":     {formBody(ok, filePart("d", "big", strings.Repeat("x", 1<<20+maxExcess+1))), ErrTooLarge},
		"two files far too large": {formBody(filePart("d", "big", strings.Repeat("x", maxExcess/2)), filePart("d", "big2", strings.Repeat("x", 3<<20+maxExcess/2))), ErrTooLarge},
		"a file too large":        {formBody(filePart("d", "big", strings.Repeat("x", 8<<20))), nil},
	}
}

func TestMultipartErrors(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{MaxFile: 1 << 20, MaxParts: 5, MaxFiles: 3})
	ok := filePart("d", "a", "content")
	for name, row := range formCases() {
		t.Run(name, func(t *testing.T) {
			resp, err := submit(t, s, strings.NewReader(row.body))
			if row.want == nil && err != nil || row.want != nil && !errors.Is(err, row.want) {
				t.Fatalf("got %+v, %v; want %v", resp, err, row.want)
			}
			if err != nil {
				if r := ErrorResponse(err); r.Code != 400 && r.Code != 413 || len(r.Reason) < 10 {
					t.Errorf("response %+v", r)
				}
			}
		})
	}
	for _, boundary := range []string{"", " ", "a ", strings.Repeat("x", maxBoundary+1), "a\r\nb", "a\x00"} {
		if resp, err := s.Multipart(t.Context(), strings.NewReader(formBody(ok)), boundary); !errors.Is(err, ErrMalformed) {
			t.Errorf("boundary %q: %+v, %v", boundary, resp, err)
		}
	}
}

func TestMultipartWithoutFile(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	for name, body := range map[string]string{
		"no part":            formBody(),
		"fields only":        formBody(fieldPart("directory", "d"), fieldPart("filename", "a")),
		"nothing was chosen": formBody(filePart("d", "", ""), fieldPart("x", "y")),
	} {
		resp, err := submit(t, s, strings.NewReader(body))
		if err != nil || resp.Code != CodeNoFile || resp.Status() != 400 || resp.Files == nil || len(resp.Files) != 0 {
			t.Errorf("%s: %+v, %v", name, resp, err)
		}
	}
}

// If the context ends before the whole body has been read, no file is stored.
func TestMultipartContextEnds(t *testing.T) {
	for _, o := range []Options{{}, {Pool: withPool(t, pool.Options{Workers: 2})}} {
		s := openStore(t, t.TempDir(), o)
		before := tree(t, s.disk.root.Name())
		leaving := errors.New("leaving")
		body := formBody(filePart("d", "a", "content"), filePart("d", "b", "content"))
		for n := range len(body) {
			ctx, cancel := context.WithCancelCause(t.Context())
			r := io.MultiReader(strings.NewReader(body[:n]), readerFunc(func([]byte) (int, error) {
				cancel(leaving)
				return 0, io.EOF
			}), strings.NewReader(body[n:]))
			resp, err := s.Multipart(ctx, r, testBoundary)
			if !errors.Is(err, leaving) {
				t.Errorf("ended at %d: %+v, %v", n, resp, err)
			}
			wantUnchanged(t, s.disk.root.Name(), before)
		}
	}
}

// The text of an internal error is in the log and not in the response.
func TestInternalErrorIsLoggedNotSent(t *testing.T) {
	var log bytes.Buffer
	armed := false
	s := openStore(t, t.TempDir(), Options{Logger: textLogger(&log)}, func(c *syscalls) {
		failSync(false, &os.PathError{Op: "sync", Path: "/secret/path", Err: errors.New("disk on fire")})(c, &armed)
	})
	armed = true
	resp, err := submit(t, s, strings.NewReader(formBody(filePart("d", "a", "x"), filePart("d", "..", "x"))))
	if err != nil || !codes(resp, 500, 400) {
		t.Fatalf("got %+v, %v", resp, err)
	}
	if resp.Files[0].Reason != "internal error" {
		t.Errorf("the response has the reason %q", resp.Files[0].Reason)
	}
	if out := log.String(); strings.Count(out, "\n") != 1 || !strings.Contains(out, "disk on fire") || !strings.Contains(out, "filename=a") {
		t.Errorf("log:\n%s", out)
	}
}
