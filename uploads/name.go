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

// CheckName checks the name of a file. A name that breaks a rule is refused and never
// changed: otherwise two names could mean the same file, or a client would not find its
// file under the name it sent.
//
// directory is one to eight components, separated by slashes; filename is one
// component. These are the rules for a component:
//   - It is valid UTF-8 of 1 to 255 bytes.
//   - It does not begin with a dot. So it is not ".", not ".." and not a hidden file.
//   - It contains no slash, no backslash, no control character (U+0000 to U+001F,
//     U+007F to U+009F) and no line or paragraph separator.
//   - It contains no character that changes the direction of text (Unicode
//     Bidi_Control). Such a character can make exe.mp3 look like 3pm.exe.
//   - It is not the name of a Windows device such as CON or COM1.txt, because files
//     are downloaded to Windows machines.
//
// All other characters are allowed, among them joiners and emoji. No Unicode
// normalisation form is required.
//
// The error wraps ErrName. Its text says which rule is broken and may be sent to the
// client.
func CheckName(directory, filename string) error {
	switch {
	case directory == "":
		return WithReason(ErrName, "the directory is empty")
	case directory[0] == '/':
		return WithReason(ErrName, "the directory begins with a slash")
	case strings.Count(directory, "/") >= maxDepth:
		return WithReason(ErrName, fmt.Sprintf("the directory has more than %d levels", maxDepth))
	case strings.Contains(filename, "/"):
		return WithReason(ErrName, "the filename contains a slash")
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

// nameProblem returns the rule that a component breaks, or "".
func nameProblem(component string) string {
	switch {
	case component == "":
		return "is empty"
	case len(component) > maxComponent:
		return fmt.Sprintf("is longer than %d bytes", maxComponent)
	case component[0] == '.':
		return "begins with a dot"
	case strings.ContainsRune(component, '\\'):
		return "contains a backslash"
	case !utf8.ValidString(component):
		return "is not valid UTF-8"
	case strings.ContainsFunc(component, unicode.IsControl):
		return "contains a control character"
	case strings.ContainsFunc(component, isMisleading):
		return "contains a character that changes the text direction or breaks the line"
	case isReserved(component):
		return "is a device name on Windows"
	}
	return ""
}

func isMisleading(r rune) bool {
	return unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

// isReserved reports whether the component is a device name on Windows. Only the part
// before the first dot counts, in upper or lower case, without trailing spaces
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

// isPort reports whether number is that of a serial or parallel port: one digit, or
// one of the superscript digits that Windows treats as digits.
func isPort(number string) bool {
	r, size := utf8.DecodeRuneInString(number)
	return size == len(number) && strings.ContainsRune("0123456789¹²³", r)
}
