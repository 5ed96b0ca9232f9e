/* See ollama_resident.h. Owns the list. Allocates nothing. */
#include "upstream/ollama_resident.h"

#include "base/clock.h"
#include "wire/ollama_names.h"

#define NOT_LISTED SIZE_MAX

void ollama_resident_done(struct ollama_resident *r)
{
    ollama_loaded_list_done(&r->list);
    *r = (struct ollama_resident) {0};
}

static size_t place_of(const struct ollama_loaded_list *list, const char *model)
{
    for (size_t i = 0; i < list->n; i++) {
        if (ollama_name_is_same(str_from(list->models[i].name), str_from(model))) {
            return i;
        }
    }
    return NOT_LISTED;
}

/*
 * A doubt ends with a list that does not name the model, so that one who appears again is news. It
 * does not outlive the process that it is about.
 */
bool ollama_resident_take(struct ollama_resident *r, struct ollama_loaded_list *list,
                          uint64_t asked_at_usec, unsigned epoch)
{
    struct ollama_resident taken = {
        .list = *list,
        .listed_at_usec = asked_at_usec,
        .doubted_at_usec = r->doubted_at_usec,
        .epoch = epoch,
    };

    if (r->doubted_at_usec >= asked_at_usec) {
        return false;
    }
    for (size_t i = 0; i < list->n && epoch == r->epoch; i++) {
        size_t before = place_of(&r->list, list->models[i].name);

        taken.is_doubted[i] = before != NOT_LISTED && r->is_doubted[before];
    }
    *list = (struct ollama_loaded_list) {0};
    ollama_loaded_list_done(&r->list);
    *r = taken;
    return true;
}

/* One that nobody has listed may be on the answer that is on its way. */
void ollama_resident_doubt(struct ollama_resident *r, const char *model, uint64_t now_usec)
{
    size_t i = place_of(&r->list, model);

    r->doubted_at_usec = now_usec;
    if (i != NOT_LISTED) {
        r->is_doubted[i] = true;
    }
}

void ollama_resident_confirm(struct ollama_resident *r, const char *model)
{
    size_t i = place_of(&r->list, model);

    if (i != NOT_LISTED) {
        r->is_doubted[i] = false;
    }
}

const struct ollama_loaded *ollama_resident_find(const struct ollama_resident *r, const char *model,
                                                 unsigned epoch, uint64_t now_usec)
{
    bool is_believed = r->listed_at_usec != 0 && r->epoch == epoch &&
                       now_usec < usec_add(r->listed_at_usec, RESIDENT_BELIEVED_USEC);
    size_t i = is_believed ? place_of(&r->list, model) : NOT_LISTED;

    return i != NOT_LISTED && !r->is_doubted[i] ? &r->list.models[i] : NULL;
}
