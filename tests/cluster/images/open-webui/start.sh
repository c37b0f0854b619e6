# In place of the image's own start.sh, which makes a key and fetches what this stack does not use.
exec open-webui serve --port "${PORT:-8080}"
