package tus

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/galeserver/gale/uploads"
)

// Keys of Upload-Metadata that the server uses.
const (
	keyFilename  = "filename"
	keyDirectory = "directory"
)

// defaultDirectory is the directory for an upload without one. Most tus clients send
// only a filename.
const defaultDirectory = "tus"

// parseMetadata parses Upload-Metadata: a comma-separated list of pairs of a key, a space
// and a value in base64 (RFC 4648, section 4). The space may be missing if the value is
// empty. Keys are unique, and ASCII without spaces and commas. A field that violates these
// rules is refused and not ignored, because it could contain the filename.
func parseMetadata(field string) (map[string]string, error) {
	pairs := map[string]string{}
	if strings.Trim(field, " \t") == "" {
		return pairs, nil
	}
	for pair := range strings.SplitSeq(field, ",") {
		key, encoded, _ := strings.Cut(strings.Trim(pair, " \t"), " ")
		value, err := base64.StdEncoding.Strict().DecodeString(encoded)
		_, again := pairs[key]
		if key == "" || again || err != nil || strings.ContainsFunc(key, notKey) || strings.ContainsAny(encoded, "\r\n") {
			return nil, newError(http.StatusBadRequest, "Upload-Metadata must be a comma-separated list of unique keys, each with a value in base64")
		}
		pairs[key] = string(value)
	}
	return pairs, nil
}

func notKey(r rune) bool { return r <= ' ' || r >= 0x7f }

// targetName returns the directory and the filename for the file. The error wraps
// uploads.ErrMissing or uploads.ErrName.
func targetName(metadata map[string]string) (directory, filename string, err error) {
	filename, ok := metadata[keyFilename]
	if !ok {
		return "", "", uploads.WithReason(uploads.ErrMissing, "filename in Upload-Metadata")
	}
	directory, ok = metadata[keyDirectory]
	if !ok {
		directory = defaultDirectory
	}
	return directory, filename, uploads.CheckName(directory, filename)
}
