// Package place finds out whether the servers and workers that share a task store also share
// the files that tasks are started for.
package place

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Place is where a server or worker keeps uploaded files.
type Place struct {
	ID   string `json:"id"`   // the same for all that share the files
	Text string `json:"text"` // for error messages
}

// marker is the file with the ID of a folder. uploads.CheckName refuses its name, so it
// cannot be an uploaded file.
const marker = ".place"

// maxMarker is the size limit of a marker, in bytes.
const maxMarker = 64

// Bucket returns the place of files in object storage. Machines may reach the same service
// under different addresses, so the address is not part of it.
func Bucket(bucket, prefix string) Place {
	address := "s3://" + path.Join(bucket, prefix)
	return Place{ID: address, Text: address}
}

// Folder returns the place of files in a folder. All machines that share the folder read the
// same marker in it. Folder creates the folder (mode 0750) and the marker if they are missing.
func Folder(dir string) (Place, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o750)
	}
	if err != nil {
		return Place{}, fmt.Errorf("open folder for uploaded files: %w", err)
	}
	name := filepath.Join(dir, marker)
	id, err := readMarker(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeMarker(dir, name); err == nil {
			id, err = readMarker(name)
		}
	}
	if err != nil {
		return Place{}, fmt.Errorf("read %s: %w", name, err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	return Place{ID: id, Text: fmt.Sprintf("folder %s on %s", dir, host)}, nil
}

// readMarker returns the ID in a marker.
func readMarker(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(text))
	if id == "" || len(id) > maxMarker {
		return "", errors.New("not an id: remove the file, and restart all servers and workers that use the folder")
	}
	return id, nil
}

// makeMarker makes a marker, which appears complete. Another process may make one at the same
// time: then that one stays.
func makeMarker(dir, name string) (err error) {
	f, err := os.CreateTemp(dir, marker+"-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.WriteString(rand.Text() + "\n")
	if err == nil {
		err = f.Chmod(0o640) // as the files beside it
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), name); errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return err
}
