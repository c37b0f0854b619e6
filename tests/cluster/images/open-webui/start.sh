# In place of the image's own start.sh, which makes a key and fetches what this stack does not use.
exec python3 -m uvicorn open_webui.main:app --host 0.0.0.0 --port "${PORT:-8080}" \
  --forwarded-allow-ips '*' --workers 1
