#pragma once
/* How the server of a deployment is spoken to beside the body: headers, and whom TLS trusts. */
#include "config/config_deployment.h"

/* extra_headers (which win) or headers: a map of names and values. */
void config_headers_read(struct config_entry *e, const struct config_node *map);

/* organization: the header OpenAI-Organization. */
void config_headers_read_organization(struct config_entry *e, const struct config_node *at);

/* ssl_verify: true, or the path of a file with certificates of authorities. */
void config_headers_read_ca(struct config_entry *e, const struct config_node *at);
