package config

import "testing"

func TestShare(t *testing.T) {
	f := func(key, in, want string) {
		t.Helper()
		loaded, err := Load(Inputs{Flags: map[string]string{key: in}})
		if err != nil {
			t.Errorf("%s %q: %v", key, in, err)
			return
		}
		got := loaded.Limits.StreamBytes
		if key == "limits.low-water" {
			got = loaded.Limits.LowWater
		}
		text := got.String()
		if got.IsAuto() {
			text = "auto"
		}
		if text != want {
			t.Errorf("%s %q: got %q (%+v), want %q", key, in, text, got, want)
		}
	}
	f("limits.stream-bytes", "80%", "80%")
	f("limits.stream-bytes", "12.5%", "12.5%")
	f("limits.stream-bytes", "100%", "100%")
	f("limits.stream-bytes", "200GiB", "200GiB")
	f("limits.low-water", "auto", "auto")
	f("limits.low-water", "0B", "0B")
	f("limits.low-water", "0%", "0B")
	f("limits.low-water", "20GiB", "20GiB")
	f("limits.low-water", "10%", "10%")
	for _, bad := range []string{"", "80", "101%", "-1%", "%", "1e1%", "NaN%", "auto", "0%", "80 %", "15MiB"} {
		if Check("limits.stream-bytes", bad) == nil {
			t.Errorf("limits.stream-bytes %q passed", bad)
		}
	}
}
