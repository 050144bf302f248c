// Command kstatus reads Kubernetes objects as JSON from standard input, one after the other, and prints
// for each its status as kstatus computes it, with the message behind a tab. It shows what GitOps tools,
// helm and kubectl plugins that wait by kstatus's rules make of an object.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	objects := json.NewDecoder(in)
	for {
		var text json.RawMessage
		err := objects.Decode(&text)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("standard input is not JSON: %w", err)
		}
		var object unstructured.Unstructured
		// As the API machinery reads it: whole numbers become int64, which kstatus expects.
		if err := utiljson.Unmarshal(text, &object.Object); err != nil {
			return fmt.Errorf("not a Kubernetes object: %w", err)
		}
		result, err := status.Compute(&object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		fmt.Fprintf(out, "%s\t%s\n", result.Status, result.Message)
	}
}
