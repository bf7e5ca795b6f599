package keyring

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"time"
)

// Provider is an OpenID Connect provider whose tokens may be exchanged for sessions of roles that
// trust it.
type Provider struct {
	Account string
	// URL is the issuer, as it stands in tokens.
	URL     string
	Created time.Time
	// Audiences are the client ids whose tokens are accepted.
	Audiences []string
	// KeysURL is where the keys are fetched that tokens are signed with; Keys are those keys themselves,
	// a JSON Web Key Set. With neither, the issuer's discovery document says where they are.
	KeysURL, Keys string
}

// Issuer returns the URL without its scheme, which is how conditions and ARNs name the provider.
func (p *Provider) Issuer() string {
	issuer, _ := issuerOf(p.URL) // it was checked when the row was made
	return issuer
}

// ARN returns the provider's ARN.
func (p *Provider) ARN() string { return ProviderARN(p.Account, p.Issuer()) }

// PutProvider adds a provider to an account, or replaces the one with the same issuer.
func (k *Keyring) PutProvider(ctx context.Context, p Provider) error {
	if err := k.accountExists(p.Account); err != nil {
		return err
	}
	issuer, err := checkProvider(&p)
	if err != nil {
		return err
	}
	key := providerKey(p.Account, issuer)
	for {
		err := change(ctx, k, key, noSuch("provider", issuer), func(r *providerRow) error {
			r.URL, r.Audiences, r.KeysURL, r.Keys = p.URL, p.Audiences, p.KeysURL, p.Keys
			return nil
		})
		if !IsKind(err, NotFound) {
			return err
		}
		if err = k.addProvider(ctx, key, p); !IsKind(err, Exists) {
			return err
		}
	}
}

func (k *Keyring) addProvider(ctx context.Context, key string, p Provider) error {
	release, err := k.reserve(p.Account, func(c *count) *int { return &c.providers }, "OpenIdConnectProvidersPerAccount", k.cfg.Limits.Providers)
	if err != nil {
		return err
	}
	defer release()
	row := providerRow{
		Layout: rowLayout, Account: p.Account, URL: p.URL, Created: millisOf(k.cfg.Clock.Now()),
		Audiences: p.Audiences, KeysURL: p.KeysURL, Keys: p.Keys,
	}
	return k.create(ctx, key, row, already("Provider", p.URL))
}

// checkProvider returns the name of a provider's issuer, or what is wrong with it.
func checkProvider(p *Provider) (issuer string, err error) {
	issuer, err = issuerOf(p.URL)
	switch {
	case err != nil:
		return "", err
	case len(p.Audiences) == 0:
		return "", refuse(Invalid, "An identity provider needs at least one audience")
	case len(p.Audiences) > maxAudiences:
		return "", overQuota("ClientIdsPerOpenIdConnectProvider", maxAudiences)
	case p.KeysURL != "" && p.Keys != "":
		return "", refuse(Invalid, "An identity provider has its keys or the URL of them, not both")
	case len(p.Keys) > maxKeySet:
		return "", refuse(LimitExceeded, "The keys of an identity provider have at most %d bytes", maxKeySet)
	case p.Keys != "" && !json.Valid([]byte(p.Keys)):
		return "", refuse(Invalid, "The keys of an identity provider must be a JSON Web Key Set")
	}
	for _, a := range p.Audiences {
		if a == "" || len(a) > maxIssuer {
			return "", refuse(Invalid, "An audience has 1 to %d characters", maxIssuer)
		}
	}
	if p.KeysURL != "" {
		if u, err := url.Parse(p.KeysURL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
			return "", refuse(Invalid, "The URL of the keys of an identity provider must begin with https:// or http://")
		}
	}
	p.Audiences = slices.Clone(p.Audiences)
	return issuer, nil
}

// DeleteProvider takes a provider from an account.
func (k *Keyring) DeleteProvider(ctx context.Context, account, providerURL string) error {
	issuer, err := issuerOf(providerURL)
	if err != nil {
		return err
	}
	return remove(ctx, k, providerKey(account, issuer), noSuch("provider", issuer), func(*providerRow) error { return nil })
}

// Provider returns the provider of an account whose issuer a token names.
func (k *Keyring) Provider(account, issuerURL string) (*Provider, error) {
	issuer, err := issuerOf(issuerURL)
	if err != nil {
		return nil, err
	}
	r := row[providerRow](&k.view, providerKey(account, issuer))
	if r == nil {
		return nil, noSuch("provider", issuer)
	}
	p := providerOf(r)
	return &p, nil
}

// Providers returns the providers of an account in order of their issuers.
func (k *Keyring) Providers(account string) []Provider {
	rows := all[providerRow](&k.view, providerPrefix+account+"/")
	providers := make([]Provider, len(rows))
	for i, r := range rows {
		providers[i] = providerOf(r)
	}
	return providers
}

func providerOf(r *providerRow) Provider {
	return Provider{
		Account: r.Account, URL: r.URL, Created: r.Created.time(), Audiences: slices.Clone(r.Audiences),
		KeysURL: r.KeysURL, Keys: r.Keys,
	}
}
