/* Prints its arguments: about the smallest C program.
 *
 * Run by: `tests/tests/boot/command.rs`. */

#include <stdio.h>

int main(int argc, char **argv)
{
    printf("ok hello-c from C, %d argument%s\n", argc - 1, argc == 2 ? "" : "s");
    for (int i = 1; i < argc; i++)
        printf("argument %d: %s\n", i, argv[i]);
    return 0;
}
