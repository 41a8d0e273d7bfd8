package tus

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/galeserver/gale/uploads"
)

// The keys of Upload-Metadata that mean something here.
const (
	keyFilename  = "filename"
	keyDirectory = "directory"
)

// defaultDirectory is where a file goes that does not say: the clients that there
// are send a filename and no directory.
const defaultDirectory = "tus"

// parseMetadata reads Upload-Metadata: pairs with a comma between them, of a key,
// a space, and a value in base64 (RFC 4648 §4); of an empty value the space may be
// left out. Keys are ASCII without spaces and commas, and each comes once. What
// breaks that is refused, since a name that was lost on the way is no name.
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
			return nil, newError(http.StatusBadRequest, "Upload-Metadata is not a list of keys, each once, and values in base64")
		}
		pairs[key] = string(value)
	}
	return pairs, nil
}

func notKey(r rune) bool { return r <= ' ' || r >= 0x7f }

// name finds what the file is to be called. Errors wrap uploads.ErrMissing and
// uploads.ErrName.
func targetName(metadata map[string]string) (directory, filename string, err error) {
	filename, ok := metadata[keyFilename]
	if !ok {
		return "", "", uploads.WithReason(uploads.ErrMissing, "filename, in Upload-Metadata")
	}
	directory, ok = metadata[keyDirectory]
	if !ok {
		directory = defaultDirectory
	}
	return directory, filename, uploads.CheckName(directory, filename)
}
