package webidentity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// fetchTimeout is how long a provider has to answer, body included.
	fetchTimeout = 5 * time.Second
	// maxDocument is the largest document that is read.
	maxDocument = 1 << 20
	// maxRedirects is how often a provider may send us on.
	maxRedirects = 3
)

// Fetcher gets documents over HTTP. It keeps no connection open.
func Fetcher() func(ctx context.Context, url string) ([]byte, error) {
	return fetcher(&http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ResponseHeaderTimeout: fetchTimeout})
}

func fetcher(transport http.RoundTripper) func(ctx context.Context, url string) ([]byte, error) {
	client := &http.Client{
		Transport: transport,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
				return errors.New("webidentity: a redirect too many, or to a place that is not encrypted")
			}
			return nil
		},
	}
	return func(ctx context.Context, url string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, fmt.Errorf("fetch document: %w", err)
		}
		r.Header.Set("Accept", "application/json")
		resp, err := client.Do(r)
		if err != nil {
			return nil, fmt.Errorf("fetch document: %w", err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("fetch document: status %d", resp.StatusCode)
		}
		document, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
		if err == nil && len(document) > maxDocument {
			err = errors.New("the document is too large")
		}
		if err != nil {
			return nil, fmt.Errorf("fetch document: %w", err)
		}
		return document, nil
	}
}
