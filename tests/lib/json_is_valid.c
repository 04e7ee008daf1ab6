/* json_is_valid NAME... - standard input is one JSON object that has every NAME with a number in
 * it; else says why not, exit 1. */
#include <jansson.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    json_error_t e;
    json_t *object = json_loadf(stdin, JSON_REJECT_DUPLICATES, &e);
    if (!json_is_object(object)) {
        printf("no JSON object: line %d: %s\n", e.line, e.text);
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        if (json_is_number(json_object_get(object, argv[i]))) continue;
        printf("no number called '%s'\n", argv[i]);
        return 1;
    }
    json_decref(object);
    return 0;
}
