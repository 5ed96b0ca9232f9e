/* See kv.h. Linear: the lists are short and read at configuration time. */
#include "base/kv.h"

#include <errno.h>
#include <stdlib.h>

void kv_wipe(struct kv *kv)
{
    for (size_t i = 0; i < kv->n_items; i++) {
        explicit_bzero(kv->items[i].value, strlen(kv->items[i].value));
    }
}

void kv_done(struct kv *kv)
{
    for (size_t i = 0; i < kv->n_items; i++) {
        free(kv->items[i].name);
        free(kv->items[i].value);
    }
    free(kv->items);
    *kv = (struct kv) {0};
}

static int replace(struct kv_item *item, struct str value)
{
    char *copy = strndup(value.ptr, value.len);

    if (!copy) {
        return -ENOMEM;
    }
    free(item->value);
    item->value = copy;
    return 0;
}

int kv_set(struct kv *kv, struct str name, struct str value)
{
    for (size_t i = 0; i < kv->n_items; i++) {
        if (str_is(name, kv->items[i].name)) {
            return replace(&kv->items[i], value);
        }
    }
    if (kv->n_items == KV_MAX) {
        return -ENOBUFS;
    }

    struct kv_item *grown = realloc(kv->items, (kv->n_items + 1) * sizeof *grown);

    if (!grown) {
        return -ENOMEM;
    }
    kv->items = grown;

    struct kv_item *item = &kv->items[kv->n_items];

    item->name = strndup(name.ptr, name.len);
    item->value = strndup(value.ptr, value.len);
    if (!item->name || !item->value) {
        free(item->name);
        free(item->value);
        return -ENOMEM;
    }
    kv->n_items++;
    return 0;
}

const char *kv_find(const struct kv *kv, const char *name)
{
    for (size_t i = 0; i < kv->n_items; i++) {
        if (strcmp(kv->items[i].name, name) == 0) {
            return kv->items[i].value;
        }
    }
    return NULL;
}

int kv_copy(const struct kv *kv, struct kv *ret)
{
    struct kv copy = {0};

    for (size_t i = 0; i < kv->n_items; i++) {
        int r = kv_set(&copy, str_from(kv->items[i].name), str_from(kv->items[i].value));

        if (r < 0) {
            kv_done(&copy);
            return r;
        }
    }
    *ret = copy;
    return 0;
}
