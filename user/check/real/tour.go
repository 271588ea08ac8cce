// Go's runtime: goroutines, channels, a map, sorting, garbage collection, standard input and output.
//
// Run by: `tests/tests/boot/real.rs`.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
)

func main() {
	numbers, squares := make(chan int), make(chan int)
	var workers sync.WaitGroup
	for i := 0; i < 4; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for n := range numbers {
				squares <- n * n
			}
		}()
	}
	go func() {
		for n := 0; n < 10000; n++ {
			numbers <- n
		}
		close(numbers)
		workers.Wait()
		close(squares)
	}()
	sum := 0
	for square := range squares {
		sum += square
	}
	fmt.Println("squares", sum)

	words := map[string]int{}
	for i := 0; i < 100000; i++ {
		words[fmt.Sprintf("word %d", i%1000)]++
	}
	runtime.GC()
	names := make([]string, 0, len(words))
	for name := range words {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Println(len(names), names[0], words["word 7"])

	func() {
		defer func() { fmt.Println("recovered:", recover()) }()
		var none []int
		fmt.Println(none[len(os.Args)])
	}()
	func() {
		defer func() { fmt.Println("recovered:", recover()) }()
		var nowhere *int
		fmt.Println(*nowhere)
	}()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(strings.ToUpper(lines.Text()))
	}
	fmt.Println(os.Args[1:])
	os.Exit(3)
}
