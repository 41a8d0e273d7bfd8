package uploads_test

import (
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"os"
	"path/filepath"

	"github.com/galeserver/gale/uploads"
)

// A form is streamed to disk. The field name is the directory. If the same form is sent
// again, the stored file stays unchanged and the response says so.
func Example() {
	dir, err := os.MkdirTemp("", "uploads-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := uploads.Open(dir, uploads.Options{MaxFile: 1 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	for range 2 {
		body, boundary := exampleForm()
		resp, err := store.Multipart(context.Background(), body, boundary)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(resp.Code, resp.Files[0].Size, resp.Files[0].Reason)
	}
	text, err := os.ReadFile(filepath.Join(dir, "notes", "hello.txt"))
	fmt.Println(string(text), err)
	// Output:
	// 200 5 OK
	// 501 0 already exists: notes/hello.txt
	// hello <nil>
}

// exampleForm returns a form as a browser sends it. It is generated while it is read.
func exampleForm() (body io.Reader, boundary string) {
	r, w := io.Pipe()
	form := multipart.NewWriter(w)
	go func() { // ends when the form has been read
		part, err := form.CreateFormFile("notes", "hello.txt")
		if err == nil {
			_, err = io.WriteString(part, "hello")
		}
		if err == nil {
			err = form.Close()
		}
		_ = w.CloseWithError(err)
	}()
	return r, form.Boundary()
}
