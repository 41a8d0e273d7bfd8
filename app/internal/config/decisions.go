package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/galeserver/gale/app/internal/uploadhook"
	"github.com/galeserver/gale/uploads"
)

// Quota is the limit of the files below a directory.
type Quota struct {
	Directory string // empty: all files
	Bytes     int64
}

// everything is the name of all files in -quota.
const everything = "*"

// quotas is a flag.Value for the limits of directories: photos=10GiB,*=100GiB. A second
// value replaces the first one.
type quotas struct{ all *[]Quota }

// String returns the limits, comma-separated.
func (q *quotas) String() string {
	if q.all == nil { // package flag calls String on a zero value
		return ""
	}
	var parts []string
	for _, one := range *q.all {
		name := one.Directory
		if name == "" {
			name = everything
		}
		parts = append(parts, name+"="+size{&one.Bytes}.String())
	}
	return strings.Join(parts, ",")
}

// Set parses the form that String returns.
func (q *quotas) Set(text string) error {
	var all []Quota
	seen := map[string]bool{}
	for _, part := range splitList(text) {
		at := strings.LastIndexByte(part, '=')
		if at < 1 {
			return fmt.Errorf("%q is not a directory, = and a size", part)
		}
		one := Quota{Directory: strings.TrimSpace(part[:at])}
		if err := newSize(&one.Bytes, 0).Set(strings.TrimSpace(part[at+1:])); err != nil {
			return fmt.Errorf("%s: %w", one.Directory, err)
		}
		if one.Directory == everything {
			one.Directory = ""
		} else if err := uploads.CheckName(one.Directory, "any"); err != nil {
			return fmt.Errorf("%q: %w", one.Directory, err)
		}
		if seen[one.Directory] {
			return fmt.Errorf("%q has two limits", part[:at])
		}
		seen[one.Directory] = true
		all = append(all, one)
	}
	if len(all) == 0 {
		return errors.New("is empty; give directories and sizes, such as photos=10GiB")
	}
	*q.all = all
	return nil
}

// checkDecisions checks the flags that decide about uploads.
func (f *flags) checkDecisions(command Command, c *Config, tasks []string) {
	if c.UploadHook != "" && command == Serve {
		if err := uploadhook.Check(c.UploadHook, c.Path); err != nil {
			f.fault("-upload-hook: %v", err)
		}
	}
	if c.Quarantine != "" {
		f.checkOneOf("quarantine", c.Quarantine, tasks...)
	}
}
