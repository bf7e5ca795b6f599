package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Share is an amount of the disk that the data directory is on: so many bytes, or a part of the
// whole. Its text is 100GiB or 80%.
type Share struct {
	// Percent is the part, 0 to 100, where Bytes is 0.
	Percent float64
	Bytes   Size
}

const (
	// minQuota is more than the largest record.
	minQuota = 16 << 20
	// maxLowWater is the largest part of the disk that may be kept free.
	maxLowWater = 50
)

// autoPercent stands for an amount that is left open.
const autoPercent = -1

// AutoLowWater returns the low-water mark that leaves it to the size of the disk; its text is "auto".
func AutoLowWater() Share { return Share{Percent: autoPercent} }

// IsAuto says whether the amount is left open.
func (s Share) IsAuto() bool { return s.Percent == autoPercent }

// ParseShare reads a size or a percentage.
func ParseShare(s string) (Share, error) {
	number, isPercent := strings.CutSuffix(s, "%")
	if !isPercent {
		n, err := ParseSize(s)
		if err != nil {
			return Share{}, fmt.Errorf("%q is not a size such as 100GiB or a percentage such as 80%%", s)
		}
		return Share{Bytes: n}, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Trim(number, "0123456789.") != "" || f > 100 {
		return Share{}, fmt.Errorf("%q is not a percentage between 0%% and 100%%", s)
	}
	return Share{Percent: f}, nil
}

// String prints s so that ParseShare reads it back.
func (s Share) String() string {
	if s.Percent == 0 {
		return s.Bytes.String()
	}
	return strconv.FormatFloat(s.Percent, 'f', -1, 64) + "%"
}

func checkQuota(s Share) error {
	if s.Percent <= 0 && s.Bytes < minQuota {
		return fmt.Errorf("%s is less than %s", s, Size(minQuota))
	}
	return nil
}

func checkLowWater(s Share) error {
	if s.Percent > maxLowWater {
		return fmt.Errorf("%s is more than %s", s, Share{Percent: maxLowWater})
	}
	return nil
}

type shareValue Share

func (v *shareValue) Set(s string) error {
	n, err := ParseShare(s)
	if err != nil {
		return err
	}
	*v = shareValue(n)
	return nil
}

func (v *shareValue) String() string { return Share(*v).String() }

type lowWaterValue Share

func (v *lowWaterValue) Set(s string) error {
	if s == autoText {
		*v = lowWaterValue(AutoLowWater())
		return nil
	}
	return (*shareValue)(v).Set(s)
}

func (v *lowWaterValue) String() string {
	if Share(*v).IsAuto() {
		return autoText
	}
	return Share(*v).String()
}
