package kinesis_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
)

// TestIAMActions holds docs/reference/iam-actions.md to the operations of the model: each has one row,
// and its action.
func TestIAMActions(t *testing.T) {
	text, err := os.ReadFile("../../../docs/reference/iam-actions.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	resource := regexp.MustCompile(`^(\*|stream|consumer|channel|stream or consumer|stream, consumer or channel|stream, and the KMS key)( \([1-4]\))?$`)
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z]\w+) \|(.*)\|$`).FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, row[1])
		cells := strings.Split(row[2], "|")
		if len(cells) != 4 || strings.TrimSpace(cells[0]) != "kinesis:"+row[1] || !resource.MatchString(strings.TrimSpace(cells[1])) {
			t.Errorf("the row of %s is not `operation | kinesis:operation | resource | keys | besides`: %s", row[1], row[0])
		}
	}
	if want := slices.Sorted(slices.Values(kinesis.OperationNames())); !slices.Equal(documented, want) {
		t.Errorf("got rows of\n%v\nwant\n%v", documented, want)
	}
}
