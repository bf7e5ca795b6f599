// Package kmstest is a key management service (KMS) for tests: the calls Encrypt and Decrypt of AWS's, and
// those of the transit engine of HashiCorp Vault, over HTTP, so that the services' own clients are what is
// tested. It checks what a service would refuse: credentials, keys, what a value is bound to. It is no
// place to keep a key: everything is in memory.
package kmstest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What the service lets in, and two of its keys; Elsewhere is another one.
const (
	AccessKey = "AKIDKMSTEST"
	SecretKey = "secret-of-kmstest"
	Token     = "hvs.token-of-kmstest"
	Region    = "eu-west-1"

	ARN       = "arn:aws:kms:" + Region + ":111122223333:key/11111111-2222-3333-4444-555555555555"
	Elsewhere = "arn:aws:kms:" + Region + ":111122223333:key/66666666-7777-8888-9999-000000000000"
	Transit   = "transit/keys/headrace"
)

// Server is a service that runs until its test ends. It is safe for concurrent use.
type Server struct {
	// AWS is the URL to give AWS's client, Vault the host and port of the URI, CA who vouches for it, in PEM.
	AWS, Vault string
	CA         []byte

	aws, vault *httptest.Server

	mu     sync.Mutex
	keys   map[string][]byte // by ARN, or path
	denies bool
	stalls bool
	calls  []string
}

// Start starts a service with the keys ARN, Elsewhere and Transit.
func Start(t testing.TB) *Server {
	s := &Server{keys: map[string][]byte{}}
	for _, name := range []string{ARN, Elsewhere, Transit} {
		s.MakeKey(name)
	}
	s.aws, s.vault = httptest.NewServer(http.HandlerFunc(s.serveAWS)), httptest.NewTLSServer(http.HandlerFunc(s.serveVault))
	t.Cleanup(s.aws.Close)
	t.Cleanup(s.vault.Close)
	s.AWS, s.Vault = s.aws.URL, strings.TrimPrefix(s.vault.URL, "https://")
	s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.vault.Certificate().Raw})
	return s
}

// Environ returns the variables with which a process reaches the service. ca is a file with CA in it.
func (s *Server) Environ(ca string) map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL_KMS": s.AWS, "AWS_ACCESS_KEY_ID": AccessKey, "AWS_SECRET_ACCESS_KEY": SecretKey,
		"AWS_SESSION_TOKEN": "", "AWS_EC2_METADATA_DISABLED": "true", "VAULT_TOKEN": Token, "VAULT_CACERT": ca,
	}
}

// MakeKey makes a key, in the place of an older one of the name.
func (s *Server) MakeKey(name string) {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[name] = key
}

// RemoveKey removes a key for ever.
func (s *Server) RemoveKey(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, name)
}

// Deny has the service refuse everybody, or no longer.
func (s *Server) Deny(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denies = on
}

// Stall has the service take calls and not answer them.
func (s *Server) Stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalls = true
}

// Calls returns the names of all calls there were, and forgets them.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// begin notes a call, and returns whether its caller may make it.
func (s *Server) begin(r *http.Request, call string, known bool) bool {
	s.mu.Lock()
	s.calls = append(s.calls, call)
	denies, stalls := s.denies, s.stalls
	s.mu.Unlock()
	if stalls {
		_, _ = io.Copy(io.Discard, r.Body) // a client's leaving is seen behind the body alone
		<-r.Context().Done()
	}
	return known && !denies
}

var (
	errNoKey = errors.New("no such key")
	errOther = errors.New("another key, or not what was sealed")
)

func (s *Server) aead(name string) (cipher.AEAD, error) {
	s.mu.Lock()
	key, ok := s.keys[name]
	s.mu.Unlock()
	if !ok {
		return nil, errNoKey
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (s *Server) seal(name string, value, bound []byte) ([]byte, error) {
	a, err := s.aead(name)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, value, bound), nil
}

func (s *Server) open(name string, sealed, bound []byte) ([]byte, error) {
	a, err := s.aead(name)
	if err != nil {
		return nil, err
	}
	value, err := a.Open(nil, nil, sealed, bound)
	if err != nil {
		return nil, errOther
	}
	return value, nil
}

// serveAWS answers as AWS's service does, in its JSON 1.1.
func (s *Server) serveAWS(w http.ResponseWriter, r *http.Request) {
	var in struct {
		KeyId, EncryptionAlgorithm string
		Plaintext, CiphertextBlob  []byte
		EncryptionContext          map[string]string
	}
	call := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	scope := r.Header.Get("Authorization")
	known := strings.Contains(scope, "Credential="+AccessKey+"/") && strings.Contains(scope, "/"+Region+"/kms/aws4_request")
	if !s.begin(r, call, known) {
		awsError(w, "AccessDeniedException", "User: "+AccessKey+" is not authorized to perform: kms:"+call)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		awsError(w, "SerializationException", err.Error())
		return
	}
	var bound bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(in.EncryptionContext)) {
		bound.WriteString(name + "=" + in.EncryptionContext[name] + "\n")
	}
	out, err := map[string]any{"KeyId": in.KeyId}, error(nil)
	switch call {
	case "Encrypt":
		out["CiphertextBlob"], err = s.seal(in.KeyId, in.Plaintext, bound.Bytes())
	case "Decrypt":
		out["Plaintext"], err = s.open(in.KeyId, in.CiphertextBlob, bound.Bytes())
	default:
		awsError(w, "UnknownOperationException", call)
		return
	}
	switch {
	case errors.Is(err, errNoKey):
		awsError(w, "NotFoundException", "Key '"+in.KeyId+"' does not exist")
	case err != nil:
		awsError(w, "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
	default:
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(out) // a client that has gone needs no answer
	}
}

func awsError(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": message}) // the same
}

// serveVault answers as the transit engine does.
func (s *Server) serveVault(w http.ResponseWriter, r *http.Request) {
	const version = "vault:v1:"
	var in struct {
		Plaintext  []byte
		Associated []byte `json:"associated_data"`
		Ciphertext string
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/v1/transit/")
	call, name, _ := strings.Cut(rest, "/")
	if !s.begin(r, call, r.Header.Get("X-Vault-Token") == Token) {
		vaultError(w, http.StatusForbidden, "permission denied")
		return
	}
	if !ok || r.Method != http.MethodPut || call != "encrypt" && call != "decrypt" {
		vaultError(w, http.StatusNotFound, "no handler for route "+r.URL.Path)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		vaultError(w, http.StatusBadRequest, err.Error())
		return
	}
	out, err, path := map[string]any{}, error(nil), "transit/keys/"+name
	if call == "encrypt" {
		var sealed []byte
		sealed, err = s.seal(path, in.Plaintext, in.Associated)
		out["ciphertext"] = version + base64.StdEncoding.EncodeToString(sealed)
	} else {
		var sealed []byte
		if sealed, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(in.Ciphertext, version)); err == nil {
			out["plaintext"], err = s.open(path, sealed, in.Associated)
		}
	}
	switch {
	case errors.Is(err, errNoKey):
		vaultError(w, http.StatusBadRequest, "encryption key not found")
	case err != nil:
		vaultError(w, http.StatusBadRequest, "cipher: message authentication failed")
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"data": out}) // the same
	}
}

func vaultError(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string][]string{"errors": {message}}) // the same
}
