package typed

import (
	"fmt"
	"strings"
)

// Problem is what is wrong with a value.
type Problem struct {
	// Path is the path of the value, such as items[1].name. It is empty for the input
	// as a whole.
	Path string
	// Text continues a sentence that begins with the path: "must be an integer".
	Text string
}

// String returns the path and the text.
func (p Problem) String() string {
	if p.Path == "" {
		return p.Text
	}
	return p.Path + " " + p.Text
}

// Texts returns the texts of problems, with their paths.
func Texts(all []Problem) []string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.String()
	}
	return texts
}

// maxProblems is the maximum number of problems in the text of JoinProblems.
const maxProblems = 10

// JoinProblems returns problems as one text. If there are more than maxProblems, it has
// the first ones and the number of the others.
func JoinProblems(problems []string) string {
	named := problems[:min(len(problems), maxProblems)]
	text := strings.Join(named, "; ")
	if more := len(problems) - len(named); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}
