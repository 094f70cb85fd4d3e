package traces

import "penstock/demo"

// Keys are the keys of a trace file in the order of its requests, numbered by their first appearance.
func Keys(path string) (keys []uint32, distinct int, err error) {
	f, err := demo.OpenTrace(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	rows, err := demo.ReadTrace(f, 0)
	if err != nil {
		return nil, 0, err
	}
	numbers := make(map[string]uint32)
	for _, r := range rows {
		n, ok := numbers[r.Key]
		if !ok {
			n = uint32(len(numbers))
			numbers[r.Key] = n
		}
		keys = append(keys, n)
	}
	return keys, len(numbers), nil
}
