package uploads

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a name.
const (
	maxComponent = 255 // bytes: NAME_MAX of every common Linux file system
	maxDepth     = 8   // levels of a directory
)

// CheckName is the one rule for what a file may be called. A name that breaks
// it is refused, never cleaned: two clients must not mean the same file by
// different names, nor one client find its file under a name it did not give.
//
// directory is one to eight components with a slash between them, filename one
// component. A component is valid UTF-8 of 1 to 255 bytes, does not begin with
// a dot (so neither "." nor ".." nor a hidden file), holds no slash, no
// backslash and no control character (U+0000 to U+001F, U+007F to U+009F), no
// line or paragraph separator and none of the characters that reorder the text
// around them (Unicode Bidi_Control: they let exe.mp3 look like 3pm.exe), and
// is not a name that Windows reserves for a device, with an extension or
// without: the files are downloaded to such machines. Joiners, emoji tags and
// all other letters are allowed; no normalisation form is asked for.
//
// The error wraps ErrName and says what is wrong, in words fit for the client.
func CheckName(directory, filename string) error {
	switch {
	case directory == "":
		return WithReason(ErrName, "the directory is empty")
	case directory[0] == '/':
		return WithReason(ErrName, "the directory is absolute")
	case strings.Count(directory, "/") >= maxDepth:
		return WithReason(ErrName, fmt.Sprintf("the directory has more than %d levels", maxDepth))
	case strings.Contains(filename, "/"):
		return WithReason(ErrName, "the filename holds a slash")
	}
	for component := range strings.SplitSeq(directory, "/") {
		if why := nameProblem(component); why != "" {
			return WithReason(ErrName, "a component of the directory "+why)
		}
	}
	if why := nameProblem(filename); why != "" {
		return WithReason(ErrName, "the filename "+why)
	}
	return nil
}

// fault says what is wrong with a component, or nothing.
func nameProblem(component string) string {
	switch {
	case component == "":
		return "is empty"
	case len(component) > maxComponent:
		return fmt.Sprintf("is longer than %d bytes", maxComponent)
	case component[0] == '.':
		return "begins with a dot"
	case strings.ContainsRune(component, '\\'):
		return "holds a backslash"
	case !utf8.ValidString(component):
		return "is not valid UTF-8"
	case strings.ContainsFunc(component, unicode.IsControl):
		return "holds a control character"
	case strings.ContainsFunc(component, isMisleading):
		return "holds a character that reorders or breaks the line"
	case isReserved(component):
		return "is reserved by Windows"
	}
	return ""
}

func isMisleading(r rune) bool {
	return unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

// reserved reports whether Windows takes the name for a device: the part
// before the first dot counts, in any case, without spaces at its end
// (https://learn.microsoft.com/windows/win32/fileio/naming-a-file).
func isReserved(component string) bool {
	base, _, _ := strings.Cut(component, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	if number, ok := strings.CutPrefix(base, "COM"); ok {
		return isPort(number)
	}
	if number, ok := strings.CutPrefix(base, "LPT"); ok {
		return isPort(number)
	}
	return slices.Contains([]string{"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}, base)
}

// port reports whether number is that of a serial or parallel port: one digit,
// or one of the superscripts that Windows takes for digits.
func isPort(number string) bool {
	r, size := utf8.DecodeRuneInString(number)
	return size == len(number) && strings.ContainsRune("0123456789¹²³", r)
}
